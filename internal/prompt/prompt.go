// Package prompt says how soon the kernel gives threads their turn on a processor that
// others want too. From Linux 6.12 on (EEVDF) a thread may ask for short slices of time:
// it gets no more of the processor than before, but gets it sooner, and a thread with
// longer slices gives way at once. Older kernels take no notice.
//
// See sched_setattr(2) and SCHED_OTHER's sched_runtime in the kernel's
// Documentation/scheduler/sched-eevdf.rst.
package prompt

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Slice is what prompt threads ask for at a time: the shortest that the kernel takes.
const Slice = 100 * time.Microsecond

// All asks for short slices for every thread of this process, and for those and the
// programs that they start from now on. Where the kernel won't, nothing changes, and
// the error is only worth a note.
func All() error {
	for range passes { // one that wasn't asked yet may have started another behind our back
		if err := each(); err != nil {
			return fmt.Errorf("ask for short slices: %w", err)
		}
	}
	return nil
}

const passes = 2

// each asks for all threads that there are.
func each() error {
	all, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range all {
		tid, err := strconv.Atoi(t.Name())
		if err == nil {
			err = ask(tid, Slice)
		}
		if err != nil && err != unix.ESRCH { // a thread that has just ended needs none
			return err
		}
	}
	return nil
}

// Humble makes the calling thread, to which the goroutine must be locked, one that
// computes for long and gives way to others: with the kernel's usual slices and at
// that nice value. Both are hints.
func Humble(nice int) {
	_ = ask(0, 0)
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), nice)
}

// Aside makes the calling thread, to which the goroutine must be locked, one that nobody
// waits for: at that nice value, and with slices that are longer than others', whose
// threads have their turn as soon as they wake. Both are hints.
func Aside(nice int) {
	_ = ask(0, longSlice)
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), nice)
}

// longSlice is longer than the kernel's usual ones, of at most 2.8 ms.
const longSlice = 5 * time.Millisecond

// ask sets a thread's slice, 0 for the usual one. 0 is the calling thread.
func ask(tid int, slice time.Duration) error {
	a, err := unix.SchedGetAttr(tid, 0)
	if err != nil {
		return err
	}
	if a.Policy != unix.SCHED_NORMAL { // somebody knows better
		return nil
	}
	a.Runtime = uint64(slice)
	return unix.SchedSetAttr(tid, a, 0)
}
