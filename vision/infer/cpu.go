package infer

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of /proc's processor times; Linux gives user space
// 100 a second on every architecture that we build for.
const clockTick = 10 * time.Millisecond

// CPU is the processor time of all worker processes so far, the running ones included.
func (w *Worker) CPU() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	sum := w.cpu
	for _, p := range w.procs {
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid())); err == nil { // else it ends just now
			sum += cpuTime(string(text))
		}
	}
	return sum
}

// cpuTime reads user and system time, fields 14 and 15 of proc_pid_stat(5);
// the command name in field 2 may hold blanks and brackets. 0 for other text.
func cpuTime(stat string) time.Duration {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick
}
