// SPDX-License-Identifier: GPL-2.0
//
// SlurmRuns: runs of the lab as array jobs of Slurm. All that is ours between this command and the engine is the job script:
// task N of an array is line N of a file with commands, and its answer a file beside that. So runs go on when this process
// ends, and who comes later finds what is done and what is still under way.
//
//   FOLDER/batch-1/job          number of the array job
//                  script       what sbatch(1) got
//                  runs         the commands, one a line
//                  words.json   the same, to be read by us
//                  0.json …     the answers of `lkm-run lab --json`
//                  0.log …      what was said besides
//
// The folder must be seen by the nodes, under the same name, as must be the library kernel and lkm-run itself.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "toolkit/base/result.hpp"

namespace lkm::cli {

class SlurmRuns {
 public:
  using Words = std::vector<std::string>;  // of `lkm-run lab`

  /// Nothing is asked of Slurm. Errors: as the folder's, which is made.
  static Result<SlurmRuns> open(std::filesystem::path folder);

  /// Hands them to Slurm; no more than `at_once` shall run at one time (0: as many as it likes). Errors: what sbatch(1)
  /// says; ENOENT without Slurm.
  Result<void> submit(const std::vector<Words>& runs, unsigned at_once);

  struct Done {
    Words words;
    std::string answer;  ///< of the lab; empty: it failed
    std::string log;     ///< the file with what it said
  };
  /// What has ended since the last time. A task that is gone without an answer has failed. Errors: what squeue(1) says.
  Result<std::vector<Done>> take();

  /// Those that were handed over, by whomever, and of which take() has told nothing yet.
  [[nodiscard]] std::set<Words> under_way() const;
  /// The array jobs of those, as scancel(1) takes them.
  [[nodiscard]] std::vector<std::string> jobs() const;

 private:
  struct Batch {
    std::filesystem::path folder;
    std::string job;  // empty: nobody knows whether it was submitted
    std::vector<Words> runs;
    std::set<std::size_t> left;
    bool failed = false;
  };

  explicit SlurmRuns(std::filesystem::path folder) : folder_(std::move(folder)) {}
  Result<void> submit_batch(const std::vector<Words>& runs, unsigned at_once);

  std::filesystem::path folder_;
  std::vector<Batch> batches_;
};

}  // namespace lkm::cli
