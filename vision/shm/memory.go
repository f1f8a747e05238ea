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
	return Kilobytes(b, "RssAnon") + Kilobytes(b, "VmSwap")
}

// MappedData is what a process has mapped for itself to write in, used or not, in bytes:
// what RLIMIT_DATA counts. 0 if it is gone.
func MappedData(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	return Kilobytes(b, "VmData")
}

// Kilobytes reads a line such as "VmRSS:  8000 kB" of proc_pid_status(5) and its like, in
// bytes; 0 if there is none.
func Kilobytes(text []byte, name string) int64 {
	for line := range bytes.Lines(text) {
		f := bytes.Fields(line)
		if len(f) == 3 && string(f[0]) == name+":" && string(f[2]) == "kB" {
			n, err := strconv.ParseInt(string(f[1]), 10, 43)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}
