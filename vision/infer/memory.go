package infer

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sightline-edge/sightline/vision/shm"
)

// How a worker's memory is watched.
const (
	defaultWeigh = 5 * time.Second
	weighLoading = 50 * time.Millisecond

	settle     = 12  // looks after the load that don't count: caches fill
	leastApart = 12  // looks after those until a process is recycled
	leakApart  = 120 // looks until it is for a leak alone, which isn't urgent
)

// memory is the cap in bytes.
func (c *Config) memory() int64 { return cmp.Or(c.Memory, machineMemory()/2) }

// hardLimit is how much more a process without an accelerator may map for itself to write
// in: beyond it an allocation fails, and with it a run, or the load. It is well above the
// cap, for not all that is mapped is used.
func hardLimit(memory int64) int64 { return memory + memory/4 + 512<<20 }

// limitMemory makes this process, a worker, fail rather than take the machine's memory,
// and the first that the kernel ends where there is none left. What an accelerator's
// driver maps isn't known here, so that beside one the looks from outside alone count.
func limitMemory(memory int64, accelerated bool) error {
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0) // only a hint
	if memory <= 0 || accelerated {
		return nil
	}
	most := uint64(shm.MappedData(os.Getpid()) + hardLimit(memory))
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_DATA, &old); err != nil {
		return fmt.Errorf("limit the memory: %w", err)
	}
	most = min(most, old.Cur)
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: most, Max: most}); err != nil {
		return fmt.Errorf("limit the memory: %w", err)
	}
	return nil
}

// machineMemory is the memory that this program may use, in bytes: the machine's, or
// what a control group (a container, a service's MemoryMax) leaves of it.
var machineMemory = sync.OnceValue(func() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 8 << 30 // never seen; a small board's
	}
	most := int64(info.Totalram) * int64(info.Unit)
	group, _ := os.ReadFile("/proc/self/cgroup") // "" where there are none
	for dir := ownGroup(group); ; dir = path.Dir(dir) {
		if n := groupMemory(path.Join("/sys/fs/cgroup", dir, "memory.max")); n > 0 {
			most = min(most, n)
		}
		if dir == "/" {
			return most
		}
	}
})

// ownGroup reads the path of a process's group, in version 2 of control groups.
func ownGroup(text []byte) string {
	for line := range bytes.Lines(text) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "0::"); ok {
			return path.Clean("/" + p)
		}
	}
	return "/"
}

// groupMemory reads a limit, 0 for none.
func groupMemory(file string) int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64) // "max" is none
	return n
}

// weigh looks at the process's memory until it is gone: while it loads, so that a model
// that takes too much is refused; then for what it takes on in time.
func (l *link) weigh() {
	w := l.owner
	pid, most := l.proc.Pid(), w.cfg.memory()
	tick := time.NewTicker(weighLoading)
	defer tick.Stop()
	loading := true
	var g growth
	for {
		select {
		case <-l.gone:
			return
		case <-tick.C:
		}
		used := shm.PrivateMemory(pid)
		switch {
		case !l.ready.Load():
			switch {
			case l.builds() || !l.tooLarge(used):
			case l.loadsEngine():
				l.proc.Conn.Close()
			default:
				l.proc.Kill()
			}
			continue
		case loading:
			loading = false
			tick.Reset(w.cfg.Weigh)
			continue
		case used == 0:
			continue // it ends just now
		}
		g.add(time.Now(), used, w.inferred.Load()+w.guests.ran.Load())
		l.heavy(&g, used, most)
	}
}

// tooLarge notes that a process which loads the model has more than it may.
func (l *link) tooLarge(used int64) bool {
	if used <= l.owner.cfg.memory() {
		return false
	}
	l.overgrown.Store(used)
	return true
}

// renewal asks for another process in the stead of one.
type renewal struct {
	of   *link
	leak bool // else it is beyond the cap
	why  string
}

// heavy tells what a look has shown, and asks for another process where this one must
// be replaced.
func (l *link) heavy(g *growth, used, most int64) {
	w := l.owner
	leak, base := g.leak(), g.base()
	w.leaks.seen(g, leak, most)
	if base > 0 { // a fresh process doesn't know yet
		w.crowded.Store(base > most)
	}
	again := renewal{of: l}
	switch {
	case g.looks < settle+leastApart:
		return
	case used > most && base <= most: // else the next one would be no smaller
		again.why = fmt.Sprintf("it takes %d MB, at most %d MB may be", used/1e6, most/1e6)
	case leak != nil && g.looks >= leakApart && leak.urgent(used, most, base, w.cfg.Weigh):
		again.leak, again.why = true, "it leaks "+leak.String()
	default:
		return
	}
	select {
	case w.renew <- again:
	default: // it was asked for already
	}
}

// tooMuch tells of a load that failed for want of memory what it may have.
func (s *server) tooMuch(err error) error {
	for _, sign := range []string{"bad_alloc", "bad allocation", "Failed to allocate memory", "length_error"} {
		if strings.Contains(err.Error(), sign) {
			return fmt.Errorf("%w: a model's process may have %d MB here", err, s.load.Memory/1e6)
		}
	}
	return err
}
