// SPDX-License-Identifier: GPL-2.0
#include "tools/lkm-run/sweep_table.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <map>
#include <memory>

#include "toolkit/base/file.hpp"
#include "toolkit/lab/measures.hpp"

namespace lkm::cli {
namespace {

namespace fs = std::filesystem;

/// Rows of text, with the names of the columns on top.
using Rows = std::vector<std::vector<std::string>>;

std::string shown(double value) { return fmt::format("{:.10g}", value); }

Rows runs_of(const SweepTable& table) {
  Rows rows = {table.parameters};
  rows[0].insert(rows[0].end(), {"measure", "value"});
  for (const SweepRun& run : table.runs) {
    for (const auto& [name, value] : run.measures) {
      rows.push_back(run.values);
      rows.back().insert(rows.back().end(), {name, shown(value)});
    }
  }
  return rows;
}

Rows estimates_of(const SweepTable& table) {
  // In the order in which they come up.
  std::vector<std::vector<std::string>> keys;
  std::map<std::vector<std::string>, std::vector<double>> values;
  std::vector<std::string> names;
  for (const std::string& parameter : table.parameters) {
    if (parameter != "seed") names.push_back(parameter);
  }
  for (const SweepRun& run : table.runs) {
    std::vector<std::string> key;
    for (std::size_t i = 0; i < table.parameters.size(); ++i) {
      if (table.parameters[i] != "seed") key.push_back(run.values[i]);
    }
    for (const auto& [name, value] : run.measures) {
      auto full = key;
      full.push_back(name);
      auto& all = values[full];
      if (all.empty()) keys.push_back(full);
      all.push_back(value);
    }
  }
  names.insert(names.end(), {"measure", "runs", "mean", "deviation", "low", "high"});
  Rows rows = {names};
  for (const auto& key : keys) {
    const lab::Estimate of = lab::estimate(values[key]);
    rows.push_back(key);
    rows.back().insert(rows.back().end(), {fmt::format("{}", of.runs), shown(of.mean), shown(of.deviation),
                                           of.runs > 1 ? shown(of.mean - of.margin) : "",
                                           of.runs > 1 ? shown(of.mean + of.margin) : ""});
  }
  return rows;
}

std::string csv(const Rows& rows) {
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i > 0) text += ',';
      // RFC 4180
      if (row[i].find_first_of(",\"\n") == std::string::npos) {
        text += row[i];
        continue;
      }
      text += '"';
      for (const char c : row[i]) text += c == '"' ? "\"\"" : std::string(1, c);
      text += '"';
    }
    text += '\n';
  }
  return text;
}

class Database {
 public:
  static Result<Database> create(const fs::path& file) {
    sqlite3* raw = nullptr;
    const int code = ::sqlite3_open(file.c_str(), &raw);
    Database database(raw);
    if (code != SQLITE_OK) return database.failed("open " + file.string());
    LKM_CHECK(database.run("BEGIN"));
    return database;
  }
  Result<void> put(const std::string& name, const Rows& rows) {
    std::string columns, places;
    for (const std::string& column : rows[0]) {
      // Whatever looks like a number is one, to compare and to average by.
      columns += fmt::format("{}\"{}\" NUMERIC", columns.empty() ? "" : ", ", column);
      places += places.empty() ? "?" : ", ?";
    }
    LKM_CHECK(run(fmt::format("CREATE TABLE {} ({})", name, columns)));
    sqlite3_stmt* raw = nullptr;
    if (::sqlite3_prepare_v2(handle_.get(), fmt::format("INSERT INTO {} VALUES ({})", name, places).c_str(), -1, &raw,
                             nullptr) != SQLITE_OK)
      return failed("fill the table " + name);
    const std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)> insert(raw, ::sqlite3_finalize);
    for (std::size_t r = 1; r < rows.size(); ++r) {
      for (std::size_t i = 0; i < rows[r].size(); ++i) {
        const std::string& text = rows[r][i];
        if (text.empty()) ::sqlite3_bind_null(raw, int(i) + 1);
        if (!text.empty()) ::sqlite3_bind_text(raw, int(i) + 1, text.data(), int(text.size()), SQLITE_TRANSIENT);
      }
      if (::sqlite3_step(raw) != SQLITE_DONE) return failed("fill the table " + name);
      ::sqlite3_reset(raw);
    }
    return {};
  }
  Result<void> commit() { return run("COMMIT"); }

 private:
  explicit Database(sqlite3* handle) : handle_(handle, ::sqlite3_close) {}
  Result<void> run(const std::string& statement) {
    if (::sqlite3_exec(handle_.get(), statement.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK) return {};
    return failed(statement);
  }
  Failure failed(const std::string& doing) {
    return Failure(Error({}, fmt::format("SQLite: {}: {}", doing, ::sqlite3_errmsg(handle_.get()))));
  }
  std::unique_ptr<sqlite3, int (*)(sqlite3*)> handle_;
};

}  // namespace

Result<void> SweepTable::write(const fs::path& folder) const {
  const Rows all = runs_of(*this), estimates = estimates_of(*this);
  LKM_CHECK(replace_file(folder / "runs.csv", csv(all)));
  LKM_CHECK(replace_file(folder / "estimates.csv", csv(estimates)));
  const fs::path file = folder / "results.sqlite", fresh = folder / "results.sqlite.new";
  std::error_code error;
  fs::remove(fresh, error);
  {
    LKM_TRY(auto database, Database::create(fresh));
    LKM_CHECK(database.put("runs", all));
    LKM_CHECK(database.put("estimates", estimates));
    LKM_CHECK(database.commit());
  }
  fs::rename(fresh, file, error);
  if (error) return Failure(Error(error, fmt::format("write '{}'", file.string())));
  return {};
}

}  // namespace lkm::cli
