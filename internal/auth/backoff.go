package auth

import (
	"crypto/sha256"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Backoff holds up who guesses: after a few failures each further attempt on a
// name, or from an address, must wait twice as long as the one before. It is
// kept in memory, bounded, and is new after a restart.
type Backoff struct {
	freeName, freeAddress int
	most                  time.Duration // that anyone waits

	mu      sync.Mutex // protects what follows
	failed  map[guess]*failures
	friends map[guess]time.Time // name and address that logged in, and when
}

// Pace of the back-off.
const (
	capName, capAddress = 5 * time.Minute, 15 * time.Minute
	forgetAfter         = time.Hour           // without a failure
	friendFor           = 30 * 24 * time.Hour // without a login
	maxGuesses          = 8192                // remembered, about 1 MiB
	maxFriends          = 1024
)

// guess is the hash of a name, an address or both.
type guess [sha256.Size]byte

type failures struct {
	count int
	last  time.Time
	until time.Time // the next attempt may be made then
}

// NewBackoff is one that knows of no failure, and lets so many pass on a name
// and from an address before anyone must wait, and nobody longer than most.
// Many may share an address.
func NewBackoff(freeName, freeAddress int, most time.Duration) *Backoff {
	return &Backoff{freeName: freeName, freeAddress: freeAddress, most: most, failed: map[guess]*failures{}, friends: map[guess]time.Time{}}
}

// Begin asks for an attempt on a name from an address; an empty name asks for
// the address alone. 0 means now, and the attempt counts as failed until
// Succeeded, so that many at once get no more tries than one by one. Else it is
// how long to wait, and the attempt wasn't counted.
//
// Who has logged in from an address before is held up there by what was tried
// on that name at that address alone: else anyone could lock anyone out, from
// elsewhere or from behind the same address. This machine's own address is
// nobody's, since a proxy on it speaks for all.
func (b *Backoff) Begin(name string, from netip.Addr) time.Duration {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	counts := b.countsLocked(name, from, now)
	var wait time.Duration
	for _, c := range counts {
		wait = max(wait, b.waitLocked(c.guess, now))
	}
	if wait > 0 {
		return wait
	}
	for _, c := range counts {
		b.failLocked(c.guess, now, c.free, c.most)
	}
	return 0
}

// count is what an attempt counts against.
type count struct {
	guess guess
	free  int
	most  time.Duration
}

func (b *Backoff) countsLocked(name string, from netip.Addr, now time.Time) (list []count) {
	both := friendGuess(name, from)
	if t, ok := b.friends[both]; ok && now.Sub(t) < friendFor {
		return []count{{both, b.freeName, min(b.most, capName)}}
	}
	if !from.Unmap().IsLoopback() {
		list = append(list, count{addressGuess(from), b.freeAddress, min(b.most, capAddress)})
	}
	if name != "" {
		list = append(list, count{nameGuess(name), b.freeName, min(b.most, capName)})
	}
	return list
}

// Succeeded takes back the last Begin's failure and forgives those before.
func (b *Backoff) Succeeded(name string, from netip.Addr) {
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.countsLocked(name, from, now) {
		// The address keeps what it failed before: one account of one's own must
		// not buy new guesses at the others.
		if f := b.failed[c.guess]; f != nil && c.guess == addressGuess(from) {
			f.count--
			f.until = time.Time{}
			if f.count > 0 {
				continue
			}
		}
		delete(b.failed, c.guess)
	}
	if name == "" {
		return
	}
	delete(b.failed, nameGuess(name))
	if len(b.friends) >= maxFriends {
		var oldest guess
		for g, t := range b.friends {
			if o, ok := b.friends[oldest]; !ok || t.Before(o) {
				oldest = g
			}
		}
		delete(b.friends, oldest)
	}
	b.friends[friendGuess(name, from)] = now
}

func (b *Backoff) waitLocked(g guess, now time.Time) time.Duration {
	f := b.failed[g]
	if f == nil {
		return 0
	}
	if now.Sub(f.last) > forgetAfter {
		delete(b.failed, g)
		return 0
	}
	return max(0, f.until.Sub(now))
}

func (b *Backoff) failLocked(g guess, now time.Time, free int, most time.Duration) {
	f := b.failed[g]
	if f == nil {
		if len(b.failed) >= maxGuesses {
			b.forgetLocked(now)
		}
		f = &failures{}
		b.failed[g] = f
	}
	f.count++
	f.last = now
	if over := f.count - free; over >= 0 {
		f.until = now.Add(min(most, time.Second<<min(over, 20)))
	}
}

// forgetLocked makes room: of some, which the map's order picks, the one that
// failed least, the oldest of those; so a flood of new names doesn't wash out
// the one that is guessed at, and costs no more than it should.
func (b *Backoff) forgetLocked(now time.Time) {
	const some = 16
	var least guess
	var found *failures
	looked := 0
	for g, f := range b.failed {
		if now.Sub(f.last) > forgetAfter {
			delete(b.failed, g)
			return
		}
		if found == nil || f.count < found.count || f.count == found.count && f.last.Before(found.last) {
			least, found = g, f
		}
		if looked++; looked == some {
			break
		}
	}
	delete(b.failed, least)
}

func nameGuess(name string) guess { return sha256.Sum256([]byte("name\x00" + strings.ToLower(name))) }

// addressGuess takes an IPv6 network of 64 bits for one address: whoever has
// one has them all.
func addressGuess(from netip.Addr) guess { return sha256.Sum256([]byte("from\x00" + network(from))) }

func friendGuess(name string, from netip.Addr) guess {
	return sha256.Sum256([]byte("both\x00" + network(from) + "\x00" + strings.ToLower(name)))
}

func network(from netip.Addr) string {
	from = from.Unmap()
	if from.Is6() {
		if p, err := from.WithZone("").Prefix(64); err == nil {
			return p.String()
		}
	}
	return from.String()
}
