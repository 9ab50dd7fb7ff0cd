// SPDX-License-Identifier: GPL-2.0
/*
 * Recording: which plugin's code asked for what. See ledger.h.
 *
 * A record costs one look into a hash table by the address of the call and one by the key; it is made in
 * whatever context the module calls from. Where the result of a call does not say whether something was
 * taken, nothing is recorded.
 */
#include <linux/err.h>
#include <linux/hash.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/timer.h>
#include <linux/workqueue.h>
#include <../kernel/module/internal.h>
#include "ledger.h"
#include "ledger_memory.h"
#include "plugin.h"

enum { OP_TAKE, OP_GIVE, OP_ARM };
enum { A0, A1, A2, A3, A4, A5, RET, I0, M0, P4, SIZE, O0, T1, T2, DIR, NO };
enum { INT, PTR, PTR2, NUM, BOOL, ANY };

/* What the stubs leave on the stack; ledger_stubs.S knows the layout. */
struct ledger_frame {
	unsigned long args[6];
	unsigned long index, result, rax, size; /* the last: of objects, as the module has it */
};

#define LEDGER_TAKE(function, class_, key_, more_, count_, done_, how_, undo_)     \
	{ .name = #function, .undo = #undo_, .class = LEDGER_##class_, .op = OP_TAKE, \
	  .key = key_, .more = more_, .count = count_, .done = done_, .how = HOW_##how_ },
#define LEDGER_GIVE(function, class_, key_, more_)                                 \
	{ .name = #function, .class = LEDGER_##class_, .op = OP_GIVE, .key = key_, .more = more_ },
#define LEDGER_ARM(function, class_, key_)                                         \
	{ .name = #function, .class = LEDGER_##class_, .op = OP_ARM, .key = key_, .more = NO },
static const struct ledger_call calls[] = {
#include "ledger_table.h"
};

/* Of wrappers that are written by hand: tcp_cc.c and below. */
static const struct ledger_call call_cc = {
	.name = "tcp_register_congestion_control", .class = LEDGER_CC };
static const struct ledger_call call_rcu_of = { .name = "call_rcu", .class = LEDGER_RCU };
static const struct ledger_call call_kmalloc = {
	.name = "kmalloc", .class = LEDGER_MEMORY };

/* The functions of `calls`, NULL for those of modules: those may come and go. */
extern void *libos_ledger_functions[];

asmlinkage void *libos_ledger_before(struct ledger_frame *frame, unsigned long caller);
asmlinkage void libos_ledger_after(const struct ledger_frame *frame, unsigned long caller);

unsigned int libos_ledger_memory;
static LIST_HEAD(ledgers);
static DEFINE_HASHTABLE(records, 13);
static DEFINE_HASHTABLE(places, 9);
/* Records that are not in use. They are never given back: freeing memory comes back to us. */
static LIST_HEAD(unused);

/* -- whose code ------------------------------------------------------------------------------------- */

struct ledger *libos_ledger_of(const struct module *mod)
{
	struct ledger *ledger;

	list_for_each_entry(ledger, &ledgers, node) {
		if (ledger->mod == mod)
			return ledger;
	}
	return NULL;
}

/* NULL: no module of that name, or no plugin. */
struct ledger *libos_ledger_named(const char *module)
{
	struct ledger *ledger = NULL;
	const struct module *mod;

	mutex_lock(&module_mutex);
	mod = find_module(module);
	if (mod)
		ledger = libos_ledger_of(mod);
	mutex_unlock(&module_mutex);
	return ledger;
}

/* Another mapping may lie where an old one did, so addresses of calls count as long as nothing is mapped anew. */
static void forget_addresses(void)
{
	struct ledger_place *place;
	struct hlist_node *next;
	int i;

	hash_for_each_safe(places, i, next, place, hash)
		hash_del(&place->hash);
}

static int add_code(struct ledger *ledger, unsigned long bias, u32 build)
{
	struct ledger_code *code = kzalloc(sizeof(*code), GFP_KERNEL);

	if (!code)
		return -ENOMEM;
	forget_addresses();
	code->not_text = ~ledger->mod->arch.text;
	code->not_bias = ~bias;
	code->size = ledger->mod->arch.text_end - ledger->mod->arch.text;
	code->build = build;
	list_add(&code->node, &ledger->codes);
	if (++ledger->n_codes > LEDGER_CODES) {
		code = list_last_entry(&ledger->codes, struct ledger_code, node);
		list_del(&code->node);
		kfree(code);
		ledger->n_codes--;
	}
	return 0;
}

int libos_ledger_open(struct module *mod, unsigned long bias, u32 build)
{
	struct ledger *ledger = kzalloc(sizeof(*ledger), GFP_KERNEL);

	if (!ledger)
		return -ENOMEM;
	ledger->mod = mod;
	ledger->purge_at = 256;
	INIT_LIST_HEAD(&ledger->codes);
	INIT_LIST_HEAD(&ledger->places);
	INIT_LIST_HEAD(&ledger->records);
	if (add_code(ledger, bias, build)) {
		kfree(ledger);
		return -ENOMEM;
	}
	list_add(&ledger->node, &ledgers);
	return 0;
}

/* The module goes on with other code; what it holds stays. */
void libos_ledger_renew(struct module *mod, unsigned long bias, u32 build)
{
	struct ledger *ledger = libos_ledger_of(mod);

	if (ledger && add_code(ledger, bias, build))
		ledger->incomplete = true;
}

/* After a swap that has moved members of objects: some are keys. */
void libos_ledger_rehash(const struct module *mod)
{
	const struct ledger *ledger = libos_ledger_of(mod);
	struct ledger_record *record;

	list_for_each_entry(record, &ledger->records, node) {
		hash_del(&record->hash);
		hash_add(records, &record->hash, ledger_key(record));
	}
}

void libos_ledger_close(struct ledger *ledger)
{
	struct ledger_record *record, *next_record;
	struct ledger_place *place, *next_place;
	struct ledger_code *code, *next_code;

	list_for_each_entry_safe(record, next_record, &ledger->records, node)
		libos_ledger_drop(record);
	list_for_each_entry_safe(place, next_place, &ledger->places, node) {
		hash_del(&place->hash);
		kfree(place);
	}
	list_for_each_entry_safe(code, next_code, &ledger->codes, node)
		kfree(code);
	list_del(&ledger->node);
	libos_objects_close(ledger->mod);
	kfree(ledger);
}

static const struct ledger_code *find_code(unsigned long address, struct ledger **of)
{
	struct ledger_code *code;
	struct ledger *ledger;

	list_for_each_entry(ledger, &ledgers, node) {
		list_for_each_entry(code, &ledger->codes, node) {
			if (address - ~code->not_text >= code->size)
				continue;
			*of = ledger;
			return code;
		}
	}
	return NULL;
}

/* NULL: no plugin's code, or no memory. */
static struct ledger_place *find_place(unsigned long caller, const struct ledger_call *call)
{
	const struct ledger_code *code;
	struct ledger_place *place;
	struct ledger *ledger;

	hash_for_each_possible(places, place, hash, caller) {
		code = list_first_entry(&place->ledger->codes, struct ledger_code, node);
		if (place->call == call && place->at + 1 + ~code->not_bias == caller &&
		    place->build == code->build)
			return place;
	}

	code = find_code(caller, &ledger);
	if (!code)
		return NULL;
	list_for_each_entry(place, &ledger->places, node) {
		if (place->call == call && place->build == code->build &&
		    place->at == caller - ~code->not_bias - 1)
			goto out;
	}
	place = kzalloc(sizeof(*place), GFP_ATOMIC);
	if (!place) {
		ledger->incomplete = true;
		return NULL;
	}
	place->ledger = ledger;
	place->call = call;
	place->build = code->build;
	/* A return address: what follows the call may be of another line. */
	place->at = caller - ~code->not_bias - 1;
	list_add_tail(&place->node, &ledger->places);
out:
	if (hlist_unhashed(&place->hash))
		hash_add(places, &place->hash, caller);
	return place;
}

/* -- records ---------------------------------------------------------------------------------------- */

static struct ledger_record *find_record(enum ledger_class class, unsigned long key, unsigned long more,
					 bool any)
{
	struct ledger_record *record;

	hash_for_each_possible(records, record, hash, key) {
		if (record->class == class && ledger_key(record) == key &&
		    (any || ledger_more(record) == more))
			return record;
	}
	return NULL;
}

/* What was taken under the key at the place. */
static struct ledger_record *find_summed(const struct ledger_place *place, unsigned long key, unsigned long more)
{
	struct ledger_record *record;

	hash_for_each_possible(records, record, hash, key) {
		if (record->place == place && ledger_key(record) == key && ledger_more(record) == more &&
		    !record->leaked)
			return record;
	}
	return NULL;
}

/* One of those that `is` says yes to. */
struct ledger_record *libos_ledger_find(unsigned long key, bool (*is)(const struct ledger_record *record))
{
	struct ledger_record *record;

	hash_for_each_possible(records, record, hash, key) {
		if (ledger_key(record) == key && is(record))
			return record;
	}
	return NULL;
}

/* Before libos_ledger_rehash(): of what has moved. Its key has been corrected, and it is still where the old one was. */
struct ledger_record *libos_ledger_find_moved(unsigned long was, unsigned long now,
					      bool (*is)(const struct ledger_record *record))
{
	struct ledger_record *record;

	hash_for_each_possible(records, record, hash, was) {
		if (ledger_key(record) == now && is(record))
			return record;
	}
	return NULL;
}

/* How many things the record stands for. */
static u32 number(const struct ledger_record *record)
{
	return libos_ledger_kinds[record->class].flags & LEDGER_SUMMED ? record->count : 1;
}

void libos_ledger_drop(struct ledger_record *record)
{
	libos_ledger_dropped(record);
	if (record->leaked)
		record->place->sum.vanished += number(record);
	if (libos_ledger_kinds[record->class].flags & LEDGER_HEAP)
		libos_ledger_memory--;
	record->place->ledger->n--;
	hash_del(&record->hash);
	list_move(&record->node, &unused);
}

/* Forgets what has ended by itself; with `all`, whatever is not there any more. */
void libos_ledger_purge(struct ledger *ledger, bool all)
{
	struct ledger_record *record, *next;

	list_for_each_entry_safe(record, next, &ledger->records, node) {
		if (!all && !(libos_ledger_kinds[record->class].flags & LEDGER_PENDING))
			continue;
		if (!libos_ledger_there(record))
			libos_ledger_drop(record);
	}
	ledger->purge_at = max(256u, 2 * ledger->n);
}

static struct ledger_record *new_record(struct ledger *ledger)
{
	struct ledger_record *record;

	if (ledger->n >= ledger->purge_at)
		libos_ledger_purge(ledger, false);
	record = list_first_entry_or_null(&unused, struct ledger_record, node);
	if (record) {
		list_del(&record->node);
		memset(record, 0, sizeof(*record));
		return record;
	}
	return kzalloc(sizeof(*record), GFP_ATOMIC | __GFP_NOWARN);
}

static void add_record(struct ledger_place *place, unsigned long key, unsigned long more, u64 count)
{
	const struct ledger_call *call = place->call;
	u8 flags = libos_ledger_kinds[call->class].flags;
	struct ledger_record *record;

	if (flags & LEDGER_SUMMED) {
		record = find_summed(place, key, more);
		if (record) {
			record->count++;
			return;
		}
		count = 1;
	}
	/* The same thing once more: a timer that is armed again, memory that was resized in place. */
	record = flags & (LEDGER_COUNTED | LEDGER_SUMMED) ? NULL : find_record(call->class, key, more, false);
	if (record && record->place->ledger == place->ledger) {
		record->place = place;
		record->count = count;
		libos_ledger_taken(record);
		return;
	}
	if (record)
		libos_ledger_drop(record);
	record = new_record(place->ledger);
	if (!record) {
		place->ledger->incomplete = true;
		return;
	}
	record->place = place;
	record->class = call->class;
	record->not_key = ~key;
	record->not_more = ~more;
	record->count = count;
	hash_add(records, &record->hash, key);
	list_add_tail(&record->node, &place->ledger->records);
	place->ledger->n++;
	if (flags & LEDGER_HEAP)
		libos_ledger_memory++;
	libos_ledger_taken(record);
}

/* After a drop: it is there nevertheless. */
struct ledger_record *libos_ledger_put_back(const struct ledger_record *copy)
{
	struct ledger *ledger = copy->place->ledger;
	struct ledger_record *record = new_record(ledger);

	if (!record) {
		ledger->incomplete = true;
		return NULL;
	}
	*record = *copy;
	record->pin = NULL;
	hash_add(records, &record->hash, ledger_key(record));
	list_add_tail(&record->node, &ledger->records);
	ledger->n++;
	if (libos_ledger_kinds[record->class].flags & LEDGER_HEAP)
		libos_ledger_memory++;
	libos_ledger_taken(record);
	return record;
}

static void give(enum ledger_class class, unsigned long key, unsigned long more, bool any)
{
	struct ledger_record *record;

	if (class == LEDGER_ANY_MEMORY) {
		libos_ledger_freed((void *)key);
		return;
	}
	while ((record = find_record(class, key, more, any))) {
		libos_ledger_drop(record);
		if (libos_ledger_kinds[class].flags & LEDGER_COUNTED)
			return;
	}
}

/* See ledger_memory.h. */
void libos_ledger_freed(const void *memory)
{
	struct ledger_record *record;
	struct hlist_node *next;

	hash_for_each_possible_safe(records, record, next, hash, (unsigned long)memory) {
		if (ledger_key(record) == (unsigned long)memory &&
		    libos_ledger_kinds[record->class].flags & LEDGER_HEAP)
			libos_ledger_drop(record);
	}
}

/* -- what the stubs call ----------------------------------------------------------------------------- */

static unsigned long value(const struct ledger_frame *frame, u8 from)
{
	switch (from) {
	case RET:
		return frame->result;
	case I0:
		return *(int *)frame->args[0];
	case M0:
		return libos_ledger_protocol((void *)frame->args[0]);
	case P4:
		return *(unsigned long *)frame->args[4];
	case SIZE:
		return frame->size;
	case O0:
		return libos_ledger_owner((void *)frame->args[0]);
	case T1:
		return frame->args[1] ? *(unsigned long *)frame->args[1] : 0;
	case T2:
		return frame->args[2] ? *(unsigned long *)frame->args[2] : 0;
	case DIR:
		return libos_ledger_references((void *)frame->result);
	case NO:
		return 0;
	}
	return frame->args[from];
}

static bool is_done(u8 done, const struct ledger_frame *frame)
{
	unsigned long result = frame->result;

	switch (done) {
	case INT:
		return !(int)result;
	case PTR2:
		if (!(u8)frame->args[2])
			return false;
		fallthrough;
	case PTR:
		return !IS_ERR_OR_NULL((void *)result) && result != (unsigned long)ZERO_SIZE_PTR;
	case NUM:
		return (int)result >= 0;
	case BOOL:
		return (bool)result;
	}
	return true;
}

/* An exported function, of the kernel or of a module; NULL if there is none now. */
void *libos_ledger_function(const char *name)
{
	struct find_symbol_arg wanted = { .name = name, .gplok = true };
	void *function = NULL;

	preempt_disable();
	if (find_symbol(&wanted))
		function = (void *)kernel_symbol_value(wanted.sym);
	preempt_enable();
	return function;
}

/* Where the stub goes on. */
void *libos_ledger_before(struct ledger_frame *frame, unsigned long caller)
{
	const struct ledger_call *call = &calls[frame->index];
	void *function = libos_ledger_functions[frame->index];
	struct ledger_place *place;
	struct ledger *ledger;

	if (call->op == OP_GIVE) {
		give(call->class, value(frame, call->key), value(frame, call->more), call->more == NO);
		if (libos_ledger_kinds[call->class].flags & LEDGER_SIZES)
			libos_objects_unregistered((void *)frame->args[0]);
	} else if (call->op == OP_ARM) {
		place = find_place(caller, call);
		if (place)
			add_record(place, value(frame, call->key), 0, 0);
	} else if (libos_ledger_kinds[call->class].flags & LEDGER_SIZES && find_code(caller, &ledger)) {
		libos_objects_registering(ledger->mod, call->class, (void *)frame->args[0]);
	} else if (call->count == SIZE) {
		frame->size = (u32)frame->args[1]; /* what else is in the register is nobody's */
		if (find_code(caller, &ledger))
			frame->args[1] = libos_objects_room(ledger->mod, frame->size);
	}
	if (unlikely(!function)) {
		function = libos_ledger_function(call->name);
		BUG_ON(!function);
	}
	return function;
}

void libos_ledger_after(const struct ledger_frame *frame, unsigned long caller)
{
	const struct ledger_call *call = &calls[frame->index];
	struct ledger_place *place;

	if (!is_done(call->done, frame)) {
		if (libos_ledger_kinds[call->class].flags & LEDGER_SIZES)
			libos_objects_unregistered((void *)frame->args[0]);
		return;
	}
	place = find_place(caller, call);
	if (place)
		add_record(place, value(frame, call->key), value(frame, call->more),
			   value(frame, call->count));
}

/* -- by hand ------------------------------------------------------------------------------------------ */

void libos_ledger_take(enum ledger_class class, const void *key, unsigned long caller)
{
	struct ledger_place *place = find_place(caller, &call_cc);

	WARN_ON_ONCE(class != LEDGER_CC);
	if (place)
		add_record(place, (unsigned long)key, 0, 0);
}

void libos_ledger_give(enum ledger_class class, const void *key)
{
	give(class, (unsigned long)key, 0, true);
}

void libos_ledger_refer(const struct ledger_call *call, const void *object, const void *tracker, unsigned long caller)
{
	struct ledger_place *place = find_place(caller, call);

	if (place)
		add_record(place, (unsigned long)object, (unsigned long)tracker, 1);
}

static int likeness(const struct ledger_record *record, const struct ledger *ledger, const void *tracker)
{
	return 2 * (record->place->ledger == ledger) + (ledger_more(record) == (unsigned long)tracker);
}

/*
 * Of several: one of the module that gives it back, if there is one, and with that tracker. Another module may have
 * handed it over. None: the kernel took it, or a function that is not looked at.
 */
bool libos_ledger_unrefer(enum ledger_class class, const void *object, const void *tracker, unsigned long caller)
{
	struct ledger_record *record, *like = NULL;
	struct ledger *ledger = NULL;
	bool asked = false;

	hash_for_each_possible(records, record, hash, (unsigned long)object) {
		if (record->class != class || ledger_key(record) != (unsigned long)object)
			continue;
		if (!like) {
			like = record;
			continue;
		}
		if (!asked)
			find_code(caller, &ledger);
		asked = true;
		if (likeness(record, ledger, tracker) > likeness(like, ledger, tracker))
			like = record;
	}
	if (!like)
		return false;
	if (like->count == 1) {
		libos_ledger_drop(like);
		return true;
	}
	like->count--;
	if (like->leaked)
		like->place->sum.vanished++;
	return true;
}

/*
 * kmalloc() is what modules call most, and its trace event (kmem:kmalloc) names the caller: here the module's.
 */
void *__wrap___kmalloc_noprof(size_t size, gfp_t flags);
void *__wrap___kmalloc_cache_noprof(struct kmem_cache *cache, gfp_t flags, size_t size);

static void *kmalloc_for(unsigned long caller, size_t size, gfp_t flags)
{
	void *memory = kmalloc_node_track_caller_noprof(size, flags, NUMA_NO_NODE, caller);
	struct ledger_place *place;

	if (likely(!ZERO_OR_NULL_PTR(memory))) {
		place = find_place(caller, &call_kmalloc);
		if (place)
			add_record(place, (unsigned long)memory, 0, size);
	}
	return memory;
}

void *__wrap___kmalloc_noprof(size_t size, gfp_t flags)
{
	return kmalloc_for(_RET_IP_, size, flags);
}

void *__wrap___kmalloc_cache_noprof(struct kmem_cache *cache, gfp_t flags, size_t size)
{
	return kmalloc_for(_RET_IP_, size, flags);
}

/*
 * RCU does not tell which callbacks wait, so they go by way of one that knows them. The record's own function
 * pointer is what a swap moves.
 */
void __wrap_call_rcu(struct rcu_head *head, rcu_callback_t function);

static void rcu_callback(struct rcu_head *head)
{
	struct ledger_record *record = find_record(LEDGER_RCU, (unsigned long)head, 0, true);
	rcu_callback_t function = record->function;

	libos_ledger_drop(record);
	function(head);
}

void __wrap_call_rcu(struct rcu_head *head, rcu_callback_t function)
{
	unsigned long caller = _RET_IP_;
	const struct ledger_code *code;
	struct ledger_place *place;
	struct ledger *ledger;

	/* A callback of the kernel's own does no harm when the module is gone. */
	code = find_code((unsigned long)function, &ledger);
	place = code ? find_place(caller, &call_rcu_of) : NULL;
	if (place) {
		struct ledger_record *record;

		add_record(place, (unsigned long)head, 0, 0);
		record = find_record(LEDGER_RCU, (unsigned long)head, 0, true);
		if (record) {
			record->function = function;
			function = rcu_callback;
		}
	}
	call_rcu(head, function);
}

/* -- listing ------------------------------------------------------------------------------------------ */

static void count(struct ledger_record *record)
{
	struct ledger_place *place = record->place;

	if (!place->sum.n) {
		libos_ledger_name(record, place->sum.what, sizeof(place->sum.what));
		place->sum.not_key = record->not_key;
	}
	place->sum.others |= record->not_key != place->sum.not_key;
	place->sum.n += number(record);
	place->sum.bytes += record->count;
}

static void begin_count(struct ledger *ledger)
{
	struct ledger_place *place;

	list_for_each_entry(place, &ledger->places, node)
		memset(&place->sum, 0, sizeof(place->sum));
	libos_ledger_purge(ledger, true);
}

static unsigned int add(struct ledger *ledger, u8 without)
{
	struct ledger_record *record;
	unsigned int n = 0;

	list_for_each_entry(record, &ledger->records, node) {
		if (record->leaked || libos_ledger_kinds[record->class].flags & without)
			continue;
		record->leaked = true;
		count(record);
		n++;
	}
	return n;
}

/*
 * What an audit is about: all that is there but memory, which may only wait for a grace period. How many they
 * are.
 */
unsigned int libos_ledger_begin_audit(struct ledger *ledger)
{
	begin_count(ledger);
	return add(ledger, LEDGER_HEAP);
}

/* Adds what is not in the audit yet; how many they are. */
unsigned int libos_ledger_add_to_audit(struct ledger *ledger)
{
	libos_ledger_purge(ledger, true);
	return add(ledger, 0);
}

int libos_module_ledger(const char *name, libos_ledger_visit visit, void *cookie)
{
	struct ledger *ledger = libos_ledger_named(name);
	struct ledger_record *record;
	struct ledger_place *place;

	if (!ledger)
		return -ENOENT;
	/* Nothing below sleeps. */
	begin_count(ledger);
	list_for_each_entry(record, &ledger->records, node)
		count(record);
	list_for_each_entry(place, &ledger->places, node) {
		const struct ledger_kind *kind = &libos_ledger_kinds[place->call->class];
		struct libos_ledger_entry entry = {
			.kind = place->sum.n == 1 ? kind->one : kind->many,
			.verb = kind->verb,
			.function = place->call->name,
			.what = place->sum.what,
			.build = place->build,
			.at = place->at,
			.count = place->sum.n,
			.bytes = kind->flags & LEDGER_BLOCK ? place->sum.bytes : 0,
		};

		if (place->sum.n)
			visit(cookie, &entry);
	}
	return ledger->incomplete ? 1 : 0;
}
