package infer

import (
	"fmt"
	"os"
	"time"

	"github.com/sightline-edge/sightline/vision/shm"
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
		if why := buildTooLarge(machine, own); why != "" {
			fail(why)
			os.Exit(1)
		}
	}
}

// buildTooLarge says why a build must end, by the texts of /proc/meminfo and
// /proc/self/status; "" if it may go on.
func buildTooLarge(machine, own []byte) string {
	total, left := shm.Kilobytes(machine, "MemTotal"), shm.Kilobytes(machine, "MemAvailable")
	taken := shm.Kilobytes(own, "VmRSS")
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
