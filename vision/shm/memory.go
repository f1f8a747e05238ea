package shm

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// PrivateMemory is what of a process's memory nobody else has, in bytes: what it wrote
// itself, swapped out or not, so without frames and libraries, and without what lies on
// an accelerator. 0 if it is gone.
func PrivateMemory(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	return kilobytes(b, "RssAnon:") + kilobytes(b, "VmSwap:")
}

// MappedData is what a process has mapped for itself to write in, used or not, in bytes:
// what RLIMIT_DATA counts. 0 if it is gone.
func MappedData(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	return kilobytes(b, "VmData:")
}

// kilobytes reads a line of proc_pid_status(5), in bytes; 0 if there is none.
func kilobytes(status []byte, name string) int64 {
	for line := range bytes.Lines(status) {
		f := bytes.Fields(line)
		if len(f) == 3 && string(f[0]) == name {
			n, _ := strconv.ParseInt(string(f[1]), 10, 64) // the kernel writes numbers
			return n << 10
		}
	}
	return 0
}
