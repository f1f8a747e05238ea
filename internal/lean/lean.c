//go:build cgo && linux

#define _GNU_SOURCE
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lean.h"

// What the kernel tells of each page (its Documentation, pagemap).
#define PRESENT (1ull << 63)
#define OF_FILE (1ull << 61)

#define LOOK 512 // pages at a time

struct look {
	int map; // /proc/self/pagemap
	uintptr_t page;
	unsigned long total;
};

static void let_go(struct look *l, uintptr_t from, uintptr_t to) {
	if (to > from && madvise((void *)from, to - from, MADV_DONTNEED) == 0)
		l->total += to - from;
}

// segment lets go of the pages that are as the file has them. Others were written to:
// by the loader, by a library that patches itself, for a debugger.
static void segment(struct look *l, uintptr_t from, uintptr_t to) {
	uint64_t seen[LOOK];
	uintptr_t run = from;
	for (uintptr_t at = from; at < to; at += LOOK * l->page) {
		size_t n = (to - at) / l->page < LOOK ? (to - at) / l->page : LOOK;
		if (pread(l->map, seen, n * sizeof *seen, at / l->page * sizeof *seen) != (ssize_t)(n * sizeof *seen))
			return;
		for (size_t i = 0; i < n; i++) {
			int own = seen[i] != 0 && (seen[i] & (PRESENT | OF_FILE)) != (PRESENT | OF_FILE);
			if (!own)
				continue;
			let_go(l, run, at + i * l->page);
			run = at + (i + 1) * l->page;
		}
	}
	let_go(l, run, to);
}

// object is called for each program and library, while none can be loaded or unloaded.
static int object(struct dl_phdr_info *o, size_t size, void *look) {
	struct look *l = look;
	for (int n = 0; n < o->dlpi_phnum; n++) {
		const ElfW(Phdr) *p = &o->dlpi_phdr[n];
		if (p->p_type != PT_LOAD || p->p_flags & PF_W)
			continue;
		uintptr_t from = o->dlpi_addr + p->p_vaddr, to = from + p->p_filesz;
		segment(l, (from + l->page - 1) & -l->page, to & -l->page);
	}
	return 0;
}

unsigned long sightline_lean(void) {
	struct look l = {open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), sysconf(_SC_PAGESIZE), 0};
#ifdef __GLIBC__
	malloc_trim(0);
#endif
	if (l.map < 0)
		return 0;
	dl_iterate_phdr(object, &l);
	close(l.map);
	return l.total;
}
