package prompt

import (
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// process notes the signals that it gets.
type process struct{ got []syscall.Signal }

func (p *process) Signal(s syscall.Signal) { p.got = append(p.got, s) }

// took is what it got since the last look: S for a stop, c for going on.
func (p *process) took() string {
	synctest.Wait()
	defer func() { p.got = nil }()
	text := ""
	for _, s := range p.got {
		text += map[syscall.Signal]string{syscall.SIGSTOP: "S", syscall.SIGCONT: "c"}[s]
	}
	return text
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// TestBystanders stand still for as long as anybody waits.
func TestBystanders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Bystanders
		one, two := &process{}, &process{}
		b.Hold()
		b.Release()
		b.Add(one)
		want(t, "nobody waits", one.took(), "")
		b.Hold()
		b.Hold()
		want(t, "two wait", one.took(), "S")
		b.Release()
		want(t, "one waits", one.took(), "")
		b.Add(two)
		want(t, "one that comes meanwhile", two.took(), "S")
		time.Sleep(9 * time.Millisecond)
		b.Release()
		want(t, "nobody waits any more", one.took()+two.took(), "cc")
		b.Hold()
		want(t, "at once again", one.took(), "")
		time.Sleep(9 * time.Millisecond)
		want(t, "once they have run for as long", one.took(), "S")
		b.Remove(one)
		b.Remove(one)
		want(t, "one that is let go", one.took(), "c")
		b.Remove(two)
		b.Release()
		b.Hold()
		want(t, "none are left", one.took()+two.took(), "Sc") // two's
	})
}

// TestBystandersRunSometimes: at least half of the time, however long is waited.
func TestBystandersRunSometimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b Bystanders
		p := &process{}
		b.Add(p)
		b.Hold()
		want(t, "at first", p.took(), "S")
		time.Sleep(stillMost - time.Millisecond)
		want(t, "before the most", p.took(), "")
		time.Sleep(time.Millisecond)
		want(t, "then", p.took(), "c")
		time.Sleep(stillMost)
		want(t, "a break later", p.took(), "S")
		time.Sleep(stillMost)
		want(t, "and again", p.took(), "c")
		b.Release()
		time.Sleep(time.Second)
		want(t, "once nobody waits", p.took(), "")
		if b.still || !slices.Equal(p.got, nil) {
			t.Errorf("%+v", &b)
		}
	})
}

// TestNoBystanders: what has none asks nobody.
func TestNoBystanders(t *testing.T) {
	var b *Bystanders
	b.Add(&process{})
	b.Hold()
	b.Release()
	b.Remove(&process{})
}
