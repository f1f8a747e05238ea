package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// scheduled is an identity whose certificate the test makes up; only its dates
// count for the schedule.
func scheduled(issued time.Time) *Identity {
	i := &Identity{spread: 0.5}
	i.certify(issued)
	return i
}

func (i *Identity) certify(issued time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.about.Issued = issued
	i.cert = tls.Certificate{Leaf: &x509.Certificate{NotAfter: issued.Add(life)}}
}

// renewals runs an identity for so long and tells when it tried, since the
// bubble's beginning.
func renewals(t *testing.T, i *Identity, long time.Duration, renew func(since time.Duration) error) []time.Duration {
	t.Helper()
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	var tries []time.Duration
	err := i.run(ctx, func(context.Context) error {
		tries = append(tries, time.Since(begin))
		return renew(time.Since(begin))
	})
	if err != nil {
		t.Error(err)
	}
	return tries
}

const day = 24 * time.Hour

func TestRenewalAtHalfLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := scheduled(time.Now())
		tries := renewals(t, i, 60*day, func(time.Duration) error {
			i.certify(time.Now())
			return nil
		})
		if len(tries) != 7 { // each 7 to 8.4 days, here 7.7
			t.Errorf("in 60 days it was renewed at %s", tries)
		}
		for n, at := range tries {
			if want := time.Duration(n+1) * (life/2 + life/20); at < want || at > want+time.Minute {
				t.Errorf("renewal %d was at %s, not %s", n, at, want)
			}
		}
	})
}

// TestFleetAway: the back-off grows to ten minutes, goes on after the end, and
// the health figures tell in time.
func TestFleetAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := scheduled(time.Now())
		var warned, expired time.Duration
		tries := renewals(t, i, 20*day, func(since time.Duration) error {
			if s := i.Stats(); s.Expiring && warned == 0 {
				warned = since
			}
			if s := i.Stats(); s.Expired && expired == 0 {
				expired = since
			}
			err := errors.New("no route to the fleet")
			i.note(err)
			return err
		})
		if warned < life*3/4 || warned > life*3/4+longWait || expired < life || expired > life+longWait {
			t.Errorf("it warned after %s, and knew of the end after %s", warned, expired)
		}
		first := tries[:10]
		if span := first[9] - first[0]; span > 10*time.Minute {
			t.Errorf("ten tries took %s", span)
		}
		most := 0 * time.Second
		for n := range tries[1:] {
			most = max(most, tries[n+1]-tries[n])
		}
		// 12.3 days at 5.25 minutes on average
		if most > longWait || len(tries) < 2500 || len(tries) > 5000 {
			t.Errorf("%d tries, with up to %s between", len(tries), most)
		}
	})
}

func TestRefusedForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := scheduled(time.Now().Add(-life))
		tries := renewals(t, i, 2*day, func(time.Duration) error { return ErrRefused })
		for n := range tries[1:] {
			if tries[n+1]-tries[n] < time.Hour {
				t.Errorf("tried at %s and again at %s", tries[n], tries[n+1])
			}
		}
		if len(tries) < 36 || len(tries) > 48 {
			t.Errorf("tried %d times in two days", len(tries))
		}
	})
}

// TestWrongClocks: a device whose clock can't be right asks at once; where the
// answer tells how wrong it is, once is enough.
func TestWrongClocks(t *testing.T) {
	for name, off := range map[string]time.Duration{"1970": -56 * 365 * day, "2036": 10 * 365 * day, "a day behind": -day} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fleet := func() time.Time { return time.Now().Add(-off) }
				i := scheduled(fleet().Add(-time.Hour))
				tries := renewals(t, i, 7*day, func(time.Duration) error {
					i.certify(fleet())
					i.mu.Lock()
					i.ahead = time.Until(fleet())
					i.mu.Unlock()
					return nil
				})
				if len(tries) != 1 || tries[0] != 0 {
					t.Errorf("asked at %s", tries)
				}
			})
		})
	}
}

// TestClockNobodyAgreesOn: a fleet whose clock tells nothing is asked once an
// hour at most.
func TestClockNobodyAgreesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := scheduled(time.Now().AddDate(30, 0, 0))
		tries := renewals(t, i, day-time.Minute, func(time.Duration) error { return nil })
		if len(tries) != 24 {
			t.Errorf("asked %d times a day", len(tries))
		}
	})
}

// TestClockSet: while Run waits for half-life somebody sets the clock forward
// past the certificate's end, as after a start in 1970; it asks soon.
func TestClockSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := scheduled(time.Now())
		go func() {
			<-time.After(day)
			i.mu.Lock()
			i.ahead = 365 * day // which is what such a step looks like
			i.mu.Unlock()
		}()
		tries := renewals(t, i, 2*day, func(time.Duration) error {
			i.certify(time.Now().Add(365 * day))
			return nil
		})
		if len(tries) != 1 || tries[0] < day || tries[0] > day+lookEvery {
			t.Errorf("asked at %s", tries)
		}
	})
}

func TestBackOff(t *testing.T) {
	for n, most := range map[int]time.Duration{0: time.Second, 1: 2 * time.Second, 9: 512 * time.Second, 10: longWait, 1000: longWait} {
		for range 1000 {
			if got := backOff(n); got <= 0 || got > most {
				t.Fatalf("after %d failures it waits %s", n, got)
			}
		}
	}
}
