package prompt

import (
	"fmt"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sliceOf is a thread's slice and nice value, 0 for the calling one.
func sliceOf(t *testing.T, tid int) (time.Duration, int32) {
	t.Helper()
	a, err := unix.SchedGetAttr(tid, 0)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(a.Runtime), a.Nice
}

// knowsSlices tells whether the kernel is new enough.
func knowsSlices(t *testing.T) bool {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor); err != nil {
		t.Fatal(err)
	}
	return major > 6 || major == 6 && minor >= 12
}

// TestAll: this process's threads, new ones and the programs that it starts have short
// slices; a thread that is Humble has the usual one and gives way, one Aside a longer one.
func TestAll(t *testing.T) {
	runtime.LockOSThread() // for good: the thread ends with the test
	usual, nice := sliceOf(t, 0)
	if usual >= longSlice {
		t.Errorf("%v are not longer than the usual %v", longSlice, usual)
	}
	if err := All(); err != nil {
		t.Fatal(err)
	}
	if now, _ := sliceOf(t, 0); now != Slice {
		if !knowsSlices(t) {
			t.Skip("left out: threads have slices of their own from Linux 6.12 on")
		}
		t.Errorf("this thread has slices of %v, want %v", now, Slice)
	}
	type seen struct {
		slice time.Duration
		nice  int32
	}
	found := make(chan seen)
	for _, c := range []struct {
		what string
		do   func()
		want seen
	}{
		{"a new thread", func() {}, seen{Slice, nice}},
		{"a humble one", func() { Humble(int(nice) + 1) }, seen{usual, nice + 1}},
		{"one aside", func() { Aside(int(nice) + 2) }, seen{longSlice, nice + 2}},
	} {
		go func() {
			runtime.LockOSThread()
			c.do()
			var s seen
			s.slice, s.nice = sliceOf(t, 0)
			found <- s
		}()
		if s := <-found; s != c.want {
			t.Errorf("%s has %+v, want %+v", c.what, s, c.want)
		}
	}
	program := exec.Command("cat")
	in, err := program.StdinPipe()
	if err == nil {
		err = program.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if s, _ := sliceOf(t, program.Process.Pid); s != Slice {
		t.Errorf("a program has slices of %v, want %v", s, Slice)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := program.Wait(); err != nil {
		t.Error(err)
	}
}
