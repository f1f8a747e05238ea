package infer

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// A build is capped, so that it never costs what runs beside it: by what it takes
// itself, and by what it leaves the machine, since on a Jetson the GPU's memory is
// the machine's and shows in no process.
const (
	guardEvery = 200 * time.Millisecond
	buildShare = 2         // of the machine's memory one part in so many may be taken
	leaveShare = 20        // one part in so many must be left,
	leaveLeast = 256 << 20 // and at least so many bytes
)

// buildNice and buildScore put a build behind all else: for the processor, and first
// for the kernel to end when memory runs out.
const (
	buildNice  = 10
	buildScore = "900"
)

// guardBuild ends the process, after fail was told why, when the build takes too much.
func guardBuild(fail func(why string)) {
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte(buildScore), 0) // only a hint
	for range time.Tick(guardEvery) {
		machine, err := os.ReadFile("/proc/meminfo")
		own, oerr := os.ReadFile("/proc/self/status")
		if err != nil || oerr != nil {
			continue // the limit in time still holds
		}
		if why := tooMuch(machine, own); why != "" {
			fail(why)
			os.Exit(1)
		}
	}
}

// tooMuch says why a build must end, by the texts of /proc/meminfo and
// /proc/self/status; "" if it may go on.
func tooMuch(machine, own []byte) string {
	total, left := kilobytes(machine, "MemTotal"), kilobytes(machine, "MemAvailable")
	taken := kilobytes(own, "VmRSS")
	switch {
	case total == 0 || left == 0:
		return ""
	case taken > total/buildShare:
		return fmt.Sprintf("building its engine took %d MB, more than half of the machine's memory", taken>>20)
	case left < max(total/leaveShare, leaveLeast):
		return fmt.Sprintf("building its engine left only %d MB of the machine's memory", left>>20)
	}
	return ""
}

// kilobytes reads a line such as "MemTotal:  8000 kB" in bytes, 0 for other text.
func kilobytes(text []byte, name string) uint64 {
	for line := range bytes.Lines(text) {
		f := bytes.Fields(line)
		if len(f) == 3 && string(f[0]) == name+":" && string(f[2]) == "kB" {
			n, err := strconv.ParseUint(string(f[1]), 10, 44)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}
