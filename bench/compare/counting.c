/* What a program under callgrind tells it: Python cannot write the instructions that it listens for. */
#include <valgrind/callgrind.h>

void begin(void) { CALLGRIND_START_INSTRUMENTATION; }

/* Writes what was counted since the last call, under this name, and counts from 0. */
void dump(const char *name) { CALLGRIND_DUMP_STATS_AT(name); }
