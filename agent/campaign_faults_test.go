package agent

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// faults are the processes that the saboteur has in hand.
type faults struct {
	mu     sync.Mutex          // protects all below; held while signals are sent
	hands  map[int]*os.Process // workers, by pid: signals go to the process, not to who has its number next
	looks  map[int]bool        // of hands, those that infer
	frozen map[int]bool
	count  map[string]int
}

func (f *faults) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.hands {
		p.Release()
	}
	f.hands = nil
}

// survey finds the workers that run now.
func (c *campaign) survey() {
	f := &c.faults
	if f.hands == nil {
		f.hands, f.looks, f.frozen, f.count = map[int]*os.Process{}, map[int]bool{}, map[int]bool{}, map[string]int{}
	}
	now := map[int]bool{}
	for _, pid := range offspring() {
		now[pid] = true
		if c.others[pid] || f.hands[pid] != nil {
			continue
		}
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // it may have ended
		words := strings.Split(strings.TrimRight(string(line), "\x00"), "\x00")
		if words[0] != os.Args[0] {
			continue
		}
		p, err := os.FindProcess(pid)
		if err != nil {
			continue
		}
		f.hands[pid], f.looks[pid] = p, len(words) == 1
	}
	for pid, p := range f.hands {
		if !now[pid] {
			p.Release()
			delete(f.hands, pid)
			delete(f.looks, pid)
			delete(f.frozen, pid)
		}
	}
}

// offspring is children without a test to fail.
func offspring() (pids []int) {
	tasks, _ := filepath.Glob("/proc/self/task/*/children") // the pattern is good
	for _, task := range tasks {
		b, _ := os.ReadFile(task) // a thread may have ended
		for _, word := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// sabotage lets one thing after the other go wrong.
func (c *campaign) sabotage(ctx context.Context) {
	r := rand.New(rand.NewPCG(11, 13))
	var thaw sync.WaitGroup
	defer thaw.Wait()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(300+r.IntN(700)) * time.Millisecond):
		}
		what := r.IntN(6)
		if n < 6 { // each once, however few triggers there are
			what = (n + 1) % 6
		}
		switch what {
		case 0:
			c.strike(ctx, r, true, syscall.SIGKILL, &thaw)
		case 1:
			for range c.workers { // all of them: no turn helps
				c.strike(ctx, r, true, syscall.SIGSTOP, &thaw)
			}
		case 2:
			c.strike(ctx, r, false, syscall.SIGKILL, &thaw)
		case 3:
			c.strike(ctx, r, false, syscall.SIGSTOP, &thaw)
		case 4:
			c.swapPress(ctx)
		case 5: // the disk has this to write before the next verdict
			for range 16 {
				c.journal.Append(make([]byte, 1<<20))
			}
			c.tally("16 MiB before verdicts")
		}
	}
}

func (c *campaign) tally(what string) {
	c.faults.mu.Lock()
	defer c.faults.mu.Unlock()
	c.faults.count[what]++
}

// strike kills a worker, or freezes it for up to 2 s. One that loads its model is
// spared: three deaths there in a row mean a model that kills.
func (c *campaign) strike(ctx context.Context, r *rand.Rand, looks bool, with syscall.Signal, thaw *sync.WaitGroup) {
	f := &c.faults
	if looks {
		for _, w := range c.workers {
			if ready(w) != nil {
				return
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	c.survey()
	var may []int
	for pid := range f.hands {
		if f.looks[pid] == looks && !f.frozen[pid] {
			may = append(may, pid)
		}
	}
	if len(may) == 0 {
		return
	}
	pid := may[r.IntN(len(may))]
	if f.hands[pid].Signal(with) != nil {
		return
	}
	f.count[map[bool]string{true: "inference worker ", false: "capture worker "}[looks]+map[syscall.Signal]string{syscall.SIGKILL: "killed", syscall.SIGSTOP: "frozen"}[with]]++
	if with != syscall.SIGSTOP {
		return
	}
	f.frozen[pid] = true
	wait := time.Duration(500+r.IntN(1500)) * time.Millisecond
	thaw.Go(func() {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.frozen, pid)
		if p := f.hands[pid]; p != nil {
			_ = p.Signal(syscall.SIGCONT) // it may have been killed for its silence
		}
	})
}

// swapPress changes the press over to its other recipe.
func (c *campaign) swapPress(ctx context.Context) {
	to := map[string]string{"one": "two", "two": "one"}
	e, err := c.Recipe("press")
	if err == nil {
		_, err = c.SetRecipe(ctx, "press", to[e.Recipe])
	}
	if err != nil && ctx.Err() == nil {
		c.t.Errorf("change the recipe: %v", err)
	}
	c.tally("recipe changed")
}

// throttle makes the accelerator slow: the workers run for a part of each period
// only, which is set so that they do half of what is asked for.
func (c *campaign) throttle(ctx context.Context) {
	const period = 12 * time.Millisecond
	part := 0.2
	demand := campaignRate*campaignLooks + cameraRate
	done, since := c.sched.Stats().Grants, time.Now()
	signal := func(s syscall.Signal) {
		c.faults.mu.Lock()
		defer c.faults.mu.Unlock()
		for pid, p := range c.faults.hands {
			if c.faults.looks[pid] && !c.faults.frozen[pid] {
				_ = p.Signal(s) // it may have ended
			}
		}
	}
	defer signal(syscall.SIGCONT)
	for {
		if took := time.Since(since); took > 400*time.Millisecond {
			c.faults.mu.Lock()
			c.survey()
			c.faults.mu.Unlock()
			now := c.sched.Stats().Grants
			rate := max(float64(now-done)/took.Seconds(), 1)
			part = min(max(part*min(max(demand/(2.4*rate), 0.5), 2), 0.03), 1)
			done, since = now, time.Now()
		}
		signal(syscall.SIGCONT)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(part * float64(period))):
		}
		if part < 0.95 {
			signal(syscall.SIGSTOP)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration((1 - part) * float64(period))):
		}
	}
}

// storm lets another program write and sync beside the journal, every other second.
func (c *campaign) storm(ctx context.Context) {
	dir := c.t.TempDir()
	for ctx.Err() == nil {
		dd := exec.Command("dd", "if=/dev/zero", "of="+filepath.Join(dir, "storm"), "bs=256k", "count=100", "oflag=dsync", "conv=notrunc")
		dd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := dd.Start(); err != nil {
			c.t.Errorf("slow the disk: %v", err)
			return
		}
		over := time.After(time.Second)
		select {
		case <-ctx.Done():
		case <-over:
		}
		_ = dd.Process.Kill() // it may have ended
		_ = dd.Wait()         // it was killed, or its disk is full
		c.tally("second of another's syncs")
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}
