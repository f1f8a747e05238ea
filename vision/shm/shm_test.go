package shm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asWorker names, in the environment, what this test binary does as a child.
const asWorker = "SIGHTLINE_SHM_TEST_WORKER"

type message struct {
	Text string `json:"text,omitempty"`
	Pool *Info  `json:"pool,omitempty"`
	Slot int    `json:"slot"`
}

func TestMain(m *testing.M) {
	switch os.Getenv(asWorker) {
	case "":
		os.Exit(m.Run())
	case "echo":
		echo(NewConn(3))
	case "die":
		os.Stderr.WriteString("library missing\n")
		os.Exit(3)
	case "crash": // as Go's runtime tells of C
		os.Stderr.WriteString("a library says something\nSIGFPE: floating-point exception\nPC=0x7f43646da710 m=0 sigcode=1\nsignal arrived during cgo execution\n\ngoroutine 22 gp=0x4 m=0 mp=0x5 [syscall]:\nruntime.cgocall(0x1, 0x2)\n\nrax    0x0\nr13    0x7f43646da710\nrflags 0x10246\nfs     0x0\ngs     0x0\nr8     0x1\nr9     0x1\nr10    0x2\nrip    0x7f\n")
		os.Exit(2)
	case "hang":
		select {}
	}
}

// echo fills the slot it is told of with 7s in the pool that it was sent.
func echo(c *Conn) {
	var pool *Pool
	for {
		var m message
		fds, err := c.Recv(&m)
		if err != nil {
			return
		}
		if m.Pool != nil {
			if pool, err = OpenPool(fds[0], *m.Pool); err != nil {
				m.Text = err.Error()
			}
		} else if pool != nil {
			for i := range pool.Slot(m.Slot) {
				pool.Slot(m.Slot)[i] = 7
			}
		}
		if c.Send(m) != nil {
			return
		}
	}
}

func start(t *testing.T, as string) *Process {
	t.Helper()
	p, err := Command{Path: os.Args[0], Env: []string{asWorker + "=" + as}, Log: slog.New(slog.DiscardHandler)}.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop(0) })
	return p
}

func roundTrip(t *testing.T, p *Process, m message, fds ...int) message {
	t.Helper()
	if err := p.Conn.Send(m, fds...); err != nil {
		t.Fatal(err)
	}
	var back message
	if _, err := p.Conn.Recv(&back); err != nil {
		t.Fatal(err)
	}
	return back
}

func TestWorkerWritesIntoTheSharedSlot(t *testing.T) {
	p := start(t, "echo")
	pool, err := NewPool(1, 3, 5000)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Release()
	if back := roundTrip(t, p, message{Pool: &pool.Info}, pool.FD()); back.Text != "" {
		t.Fatal(back.Text)
	}
	roundTrip(t, p, message{Slot: 1})
	for i, want := range []byte{0, 7, 0} {
		if got := bytes.Count(pool.Slot(i), []byte{want}); got != pool.SlotSize {
			t.Errorf("slot %d: %d of %d bytes are %d", i, got, pool.SlotSize, want)
		}
	}
}

func TestStopEndsAWorkerThatListensAndOneThatHangs(t *testing.T) {
	for _, as := range []string{"echo", "hang"} {
		p := start(t, as)
		p.Stop(50 * time.Millisecond)
		select {
		case <-p.Done():
		default:
			t.Errorf("%s: still running after Stop", as)
		}
		if _, err := p.Conn.Recv(&message{}); !errors.Is(err, io.EOF) {
			t.Errorf("%s: receive after Stop: %v, want EOF", as, err)
		}
	}
}

// stopped tells whether every thread of a process stands still.
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("process %d has no threads: %v", pid, err)
	}
	return !slices.ContainsFunc(threads, func(file string) bool {
		stat, err := os.ReadFile(file)
		return err != nil || !bytes.Contains(stat, []byte(") T "))
	})
}

func TestStoppedProcessIsKilled(t *testing.T) {
	p := start(t, "echo")
	roundTrip(t, p, message{Text: "up"})
	if err := syscall.Kill(p.Pid(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for !stopped(t, p.Pid()) { // the signal is on its way
		runtime.Gosched()
	}
	p.Stop(10 * time.Millisecond)
	if !strings.Contains(p.Exit(), "killed") {
		t.Errorf("ended with %q, want killed", p.Exit())
	}
}

func TestExitTellsTheReason(t *testing.T) {
	p := start(t, "die")
	if _, err := p.Conn.Recv(&message{}); !errors.Is(err, io.EOF) {
		t.Errorf("receive from a dead worker: %v, want EOF", err)
	}
	<-p.Done()
	if got, want := p.Exit(), "exit status 3: library missing"; got != want {
		t.Errorf("exit is %q, want %q", got, want)
	}
}

func TestCloseWakesReceive(t *testing.T) {
	c, peer, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	got := make(chan error)
	go func() {
		_, err := c.Recv(&message{})
		got <- err
	}()
	c.Close()
	c.Close()
	if err := <-got; !errors.Is(err, io.EOF) {
		t.Errorf("receive on a closed conn: %v, want EOF", err)
	}
	if err := c.Send(message{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("send on a closed conn: %v, want ErrClosed", err)
	}
}

func TestLastWordsOfAPeerThatLeftMessagesUnread(t *testing.T) {
	ours, file, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	fd, err := unix.Dup(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	peer := NewConn(fd)
	for _, send := range []error{ours.Send("unread"), peer.Send("one"), peer.Send("last"), peer.Close()} {
		if send != nil {
			t.Fatal(send)
		}
	}
	for _, want := range []string{"one", "last"} {
		var got string
		if _, err := ours.Recv(&got); err != nil || got != want {
			t.Fatalf("received %q, %v, want %q", got, err, want)
		}
	}
	if _, err := ours.Recv(new(string)); !errors.Is(err, io.EOF) {
		t.Errorf("behind the last words Recv says %v, want EOF", err)
	}
}

func TestMessagesThatDontFit(t *testing.T) {
	c, peer, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	defer c.Close()
	if err := c.Send(message{Text: strings.Repeat("x", MaxMessage)}); err == nil {
		t.Error("an over-long message was sent")
	}
	if err := unix.Sendto(int(peer.Fd()), []byte(`{"text":`), 0, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Recv(&message{}); err == nil {
		t.Error("half a message was taken")
	}
}

func TestPoolRefusesBadMemory(t *testing.T) {
	unsealed, err := unix.MemfdCreate("test", unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Ftruncate(unsealed, 8192); err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func() (*Pool, error){
		"no slots":  func() (*Pool, error) { return NewPool(1, 0, 100) },
		"no bytes":  func() (*Pool, error) { return NewPool(1, 1, 0) },
		"too large": func() (*Pool, error) { return NewPool(1, 1, MaxSlotSize+1) },
		"unsealed":  func() (*Pool, error) { return OpenPool(unsealed, Info{ID: 1, Slots: 2, SlotSize: 4096}) },
		"smaller than told": func() (*Pool, error) {
			p, err := NewPool(1, 1, 4096)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Release()
			fd, err := unix.Dup(p.FD())
			if err != nil {
				t.Fatal(err)
			}
			return OpenPool(fd, Info{ID: 1, Slots: 2, SlotSize: 4096})
		},
	} {
		if p, err := open(); err == nil {
			p.Release()
			t.Errorf("%s: accepted", name)
		}
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	p, err := Command{Path: os.Args[0], Env: []string{asWorker + "=echo"}, Log: slog.New(slog.DiscardHandler)}.Start()
	if err != nil {
		b.Fatal(err)
	}
	defer p.Stop(0)
	for b.Loop() {
		if err := p.Conn.Send(message{Slot: 1}); err != nil {
			b.Fatal(err)
		}
		if _, err := p.Conn.Recv(&message{}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestProcessOutlivesTheThread that asked for it, and all threads that end.
func TestProcessOutlivesTheThread(t *testing.T) {
	started := make(chan *Process)
	for range 20 {
		ended := make(chan int)
		go func() {
			runtime.LockOSThread() // for good: the thread ends with this goroutine
			defer func() { ended <- unix.Gettid() }()
			go func() { started <- start(t, "echo") }()
			started <- start(t, "echo")
		}()
		first, second := <-started, <-started
		tid := <-ended
		for end := time.Now().Add(time.Second); ; { // the main thread doesn't
			if _, err := os.Stat(fmt.Sprintf("/proc/self/task/%d", tid)); err != nil || time.Now().After(end) {
				break
			}
			runtime.Gosched()
		}
		for _, p := range []*Process{first, second} {
			if got := roundTrip(t, p, message{Text: "still there"}); got.Text != "still there" {
				t.Fatalf("it answers %+v", got)
			}
		}
	}
}

// TestCrashIsToldByItsBeginning, which says more than its end.
func TestCrashIsToldByItsBeginning(t *testing.T) {
	p := start(t, "crash")
	<-p.Done()
	const want = "exit status 2: SIGFPE: floating-point exception | PC=0x7f43646da710 m=0 sigcode=1 | signal arrived during cgo execution"
	if got := p.Exit(); got != want {
		t.Errorf("it is told as %q, want %q", got, want)
	}
}
