package auth

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

var here, there = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

// Guessing without end gets little further: the waits double up to their cap.
func TestGuessingIsHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, tries := NewBackoff(5, 20, time.Hour), 0
		begin := time.Now()
		var waits []time.Duration
		for time.Since(begin) < 24*time.Hour {
			if wait := b.Begin("admin", here); wait > 0 {
				waits = append(waits, wait)
				time.Sleep(wait)
				continue
			}
			tries++
		}
		// 5 free ones, 8 while the wait doubles from 1 s to 5 min; then one each
		// 5 min, until the address is slower: one each 15 min.
		if tries < 90 || tries > 130 {
			t.Errorf("%d guesses in a day", tries)
		}
		for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second} {
			if waits[i] != want {
				t.Errorf("wait %d is %v, want %v", i, waits[i], want)
			}
		}
		if last := waits[len(waits)-1]; last != capAddress {
			t.Errorf("the last wait is %v", last)
		}
	})
}

// Many at once get no more tries than one after the other.
func TestGuessesAtOnce(t *testing.T) {
	b, let := NewBackoff(5, 20, time.Hour), 0
	for range 1000 {
		if b.Begin("admin", here) == 0 {
			let++
		}
	}
	if let != 5 {
		t.Errorf("%d of 1000 were let at it", let)
	}
}

// One guess at each of many names is held up by the address.
func TestSprayingIsHeldUp(t *testing.T) {
	b, let := NewBackoff(5, 20, time.Hour), 0
	for i := range 1000 {
		if b.Begin(fmt.Sprintf("user%d", i), here) == 0 {
			let++
		}
	}
	if let != 20 {
		t.Errorf("%d names were tried", let)
	}
	if wait := b.Begin("user7", there); wait != 0 {
		t.Errorf("another address waits %v", wait)
	}
	whole := netip.MustParseAddr("2001:db8:1:2::")
	for range 30 {
		b.Begin("", whole)
		whole = whole.Next()
	}
	if b.Begin("", netip.MustParseAddr("2001:db8:1:2:ffff::1")) == 0 {
		t.Error("one network of IPv6 has many addresses' tries")
	}
	if b.Begin("", netip.MustParseAddr("2001:db8:1:3::1")) != 0 {
		t.Error("another network waits too")
	}
}

// An account of one's own doesn't buy guesses at others.
func TestOwnLoginsDontForgive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, guesses := NewBackoff(5, 20, time.Hour), 0
		begin := time.Now()
		for time.Since(begin) < time.Hour {
			if b.Begin("mallory", here) == 0 {
				b.Succeeded("mallory", here)
			}
			if wait := b.Begin("admin", here); wait > 0 {
				time.Sleep(wait)
				continue
			}
			guesses++
		}
		if guesses > 30 {
			t.Errorf("%d guesses in an hour", guesses)
		}
	})
}

func TestSuccessForgivesTheName(t *testing.T) {
	b := NewBackoff(5, 20, time.Hour)
	for range 100 {
		if wait := b.Begin("anna", here); wait != 0 {
			t.Fatalf("a right password waits %v", wait)
		}
		b.Succeeded("anna", here)
	}
	if len(b.failed) != 0 {
		t.Errorf("%d are held against somebody", len(b.failed))
	}
}

// Nobody can be locked out where he has logged in before, by those who try his
// name elsewhere.
func TestNobodyIsLockedOut(t *testing.T) {
	b := NewBackoff(5, 1000, time.Hour)
	if b.Begin("Anna", here) != 0 {
		t.Fatal("the first attempt waits")
	}
	b.Succeeded("Anna", here)
	for range 100 {
		b.Begin("anna", there)
	}
	if b.Begin("anna", there) == 0 {
		t.Error("guesses aren't held up")
	}
	if wait := b.Begin("anna", here); wait != 0 {
		t.Errorf("Anna waits %v at her own desk", wait)
	}
}

// Nor by those who try what they like from behind the same address; who tries
// her name there is held up.
func TestSharedAddress(t *testing.T) {
	b := NewBackoff(5, 20, time.Hour)
	for _, name := range []string{"anna", "bert"} {
		b.Begin(name, here)
		b.Succeeded(name, here)
	}
	for i := range 1000 {
		b.Begin(fmt.Sprint("user", i), here)
	}
	if b.Begin("carl", here) == 0 {
		t.Error("guesses at many aren't held up")
	}
	if wait := b.Begin("anna", here); wait != 0 {
		t.Errorf("Anna waits %v at her own desk", wait)
	}
	b.Succeeded("anna", here)
	if b.Begin("carl", here) == 0 {
		t.Error("Anna's login lets others guess")
	}
	for range 5 {
		b.Begin("anna", here)
	}
	if b.Begin("anna", here) == 0 {
		t.Error("guesses at Anna's password aren't held up at her own address")
	}
	if wait := b.Begin("bert", here); wait != 0 {
		t.Errorf("Bert waits %v for what was tried on Anna's name", wait)
	}
}

// A proxy on this machine speaks for all who come through it.
func TestThisMachineIsNobody(t *testing.T) {
	b := NewBackoff(5, 20, time.Hour)
	for _, from := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1"} {
		for i := range 100 {
			if wait := b.Begin(fmt.Sprint(from, i), netip.MustParseAddr(from)); wait != 0 {
				t.Fatalf("%s waits %v", from, wait)
			}
		}
		for range 5 {
			b.Begin("anna", netip.MustParseAddr(from))
		}
		if b.Begin("anna", netip.MustParseAddr(from)) == 0 {
			t.Errorf("guesses at one name from %s aren't held up", from)
		}
	}
}

func TestLongestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBackoff(0, 3, 5*time.Second)
		for range 20 {
			wait := b.Begin("", here)
			if wait > 5*time.Second {
				t.Fatalf("it waits %v", wait)
			}
			time.Sleep(wait)
		}
		b.Begin("", here)
		if b.Begin("", here) == 0 {
			t.Error("nobody waits")
		}
	})
}

func TestFailuresAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewBackoff(5, 20, time.Hour)
		for range 5 {
			b.Begin("anna", here)
		}
		if b.Begin("anna", here) == 0 {
			t.Error("the sixth attempt is let")
		}
		time.Sleep(forgetAfter + time.Second)
		for range 5 {
			if b.Begin("anna", here) != 0 {
				t.Error("an old failure still counts")
			}
		}
	})
}

// A flood of names takes no more memory, and doesn't wash out the one that is
// guessed at.
func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a slow machine lets no time pass
		b := NewBackoff(5, 1<<30, time.Hour)
		for range 10 {
			b.Begin("admin", here)
		}
		from := netip.MustParseAddr("10.0.0.0")
		for i := range 2 * maxGuesses {
			b.Begin(fmt.Sprintf("user%d", i), from)
			from = from.Next()
		}
		if len(b.failed) > maxGuesses {
			t.Errorf("%d are remembered", len(b.failed))
		}
		if b.Begin("admin", there) == 0 {
			t.Error("the flood washed out who is guessed at")
		}
		for i := range 2 * maxFriends {
			b.Succeeded(fmt.Sprintf("user%d", i), here)
		}
		if len(b.friends) > maxFriends {
			t.Errorf("%d logins are remembered", len(b.friends))
		}
	})
}
