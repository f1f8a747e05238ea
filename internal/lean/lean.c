//go:build cgo && linux

#define _GNU_SOURCE
#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lean.h"

// written tells whether the loader had to write to code: what is let go of comes
// back as the file has it.
static int written(const struct dl_phdr_info *o) {
	for (int n = 0; n < o->dlpi_phnum; n++) {
		if (o->dlpi_phdr[n].p_type != PT_DYNAMIC)
			continue;
		for (const ElfW(Dyn) *d = (const void *)(o->dlpi_addr + o->dlpi_phdr[n].p_vaddr); d->d_tag != DT_NULL; d++)
			if (d->d_tag == DT_TEXTREL || (d->d_tag == DT_FLAGS && d->d_un.d_val & DF_TEXTREL))
				return 1;
	}
	return 0;
}

// leave is called for each object, while none can be loaded or unloaded.
static int leave(struct dl_phdr_info *o, size_t size, void *total) {
	if (written(o))
		return 0;
	uintptr_t page = sysconf(_SC_PAGESIZE);
	for (int n = 0; n < o->dlpi_phnum; n++) {
		const ElfW(Phdr) *p = &o->dlpi_phdr[n];
		if (p->p_type != PT_LOAD || p->p_flags & PF_W)
			continue;
		uintptr_t from = (o->dlpi_addr + p->p_vaddr) & -page;
		uintptr_t to = (o->dlpi_addr + p->p_vaddr + p->p_filesz + page - 1) & -page;
		if (madvise((void *)from, to - from, MADV_DONTNEED) == 0)
			*(unsigned long *)total += to - from;
	}
	return 0;
}

unsigned long sightline_lean(void) {
	unsigned long total = 0;
#ifdef __GLIBC__
	malloc_trim(0);
#endif
	dl_iterate_phdr(leave, &total);
	return total;
}
