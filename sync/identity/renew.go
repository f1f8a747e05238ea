package identity

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
)

// Times of Run.
const (
	firstWait  = time.Second      // back-off begins with up to this
	longWait   = 10 * time.Minute // and ends with up to this
	refusedFor = time.Hour        // between tries while the fleet refuses, and renewals while clocks disagree
	lookEvery  = 10 * time.Minute // at a clock that somebody may set
)

// Stats is how the identity does. Times of certificates are by the fleet's clock.
type Stats struct {
	Issued, NotAfter time.Time
	Expired          bool   // by the best clock that the device has
	Expiring         bool   // expired, or renewals failed for so long that it soon will be: warn
	Renewed, Failed  uint64 // renewals since the start
	Refused          bool   // the fleet refused the newest try for good; asked again each hour
	LastError        string // of the newest renewal, "" if it worked
}

// Stats are the current figures.
func (i *Identity) Stats() Stats {
	i.mu.Lock()
	defer i.mu.Unlock()
	s, now, end := i.stats, i.nowLocked(), i.cert.Leaf.NotAfter
	s.Issued, s.NotAfter = i.about.Issued, end
	s.Expired = now.After(end)
	s.Expiring = s.Expired || s.Refused || s.LastError != "" && now.After(end.Add(-i.lifeLocked()/4))
	return s
}

func (i *Identity) lifeLocked() time.Duration {
	return max(0, i.cert.Leaf.NotAfter.Sub(i.about.Issued))
}

// Renew has a new key certified and takes it into use, on disk and for
// connections to come. Until both are done the old ones stay. The error wraps
// ErrRefused if the fleet will not do it.
func (i *Identity) Renew(ctx context.Context) error {
	err := i.renew(ctx)
	if err != nil {
		err = fmt.Errorf("renew the certificate: %w", err)
	}
	if ctx.Err() == nil { // else it is the caller who gave up
		i.note(err)
	}
	return err
}

func (i *Identity) note(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.stats.Refused, i.stats.LastError = errors.Is(err, ErrRefused), ""
	if err != nil {
		i.stats.Failed++
		i.stats.LastError = err.Error()
		return
	}
	i.stats.Renewed++
}

func (i *Identity) renew(ctx context.Context) error {
	i.renewing.Lock()
	defer i.renewing.Unlock()
	lock, err := i.folder.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	key, err := newKey()
	if err != nil {
		return err
	}
	var ask wire.RenewRequest
	if ask.CSR, err = request(key); err != nil {
		return err
	}
	old := i.read()
	fleet, err := url.Parse(old.Fleet)
	if err != nil {
		return err
	}
	answer, err := exchange(ctx, i.client(fleet.Hostname), fleet.JoinPath(wire.RenewPath).String(), ask)
	if err != nil {
		return fmt.Errorf("at %s: %w", old.Fleet, err)
	}
	a, cert, err := accept(answer, key, i.ca, old.Fleet)
	if err == nil && a.Device != old.Device {
		err = fmt.Errorf("check the fleet's answer: it is for %s, and this device is %s", a.Device, old.Device)
	}
	if err != nil {
		return err
	}
	if err := i.folder.save(a, cert); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.about, i.cert, i.spread = a, cert, spread()
	i.ahead = time.Until(a.Issued)
	return nil
}

// Run renews the certificate from half of its life on, and also after it has
// ended, until ctx ends. Where the device's clock says that the certificate
// isn't valid yet, or not any more, it asks the fleet at once, and learns from
// the answer how wrong the clock is. Stats tell how it goes.
func (i *Identity) Run(ctx context.Context) error { return i.run(ctx, i.Renew) }

func (i *Identity) run(ctx context.Context, renew func(context.Context) error) error {
	var next time.Time // no try before it, by the clock that nobody sets
	failures := 0
	for {
		wait := max(i.due(), time.Until(next))
		if wait > 0 {
			select {
			case <-time.After(min(wait, lookEvery)):
				continue
			case <-ctx.Done():
				return nil
			}
		}
		err := renew(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			failures = 0
			next = time.Now().Add(min(refusedFor, i.life()/4))
		case errors.Is(err, ErrRefused):
			next = time.Now().Add(refusedFor + rand.N(refusedFor/4))
		default:
			next = time.Now().Add(backOff(failures))
			failures++
		}
	}
}

func (i *Identity) life() time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.lifeLocked()
}

// due is how long the certificate needs no renewal: half its life and up to a
// tenth more, so that devices that were enrolled together don't come together.
func (i *Identity) due() time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	now, end, life := i.nowLocked(), i.cert.Leaf.NotAfter, i.lifeLocked()
	if now.Before(i.about.Issued.Add(-slack(life))) {
		return 0 // the clock is wrong
	}
	at := end.Add(-life/2 + time.Duration(i.spread*float64(life)/10))
	return at.Sub(now)
}

// slack is how far behind the fleet's a clock may be and still be right.
func slack(life time.Duration) time.Duration { return min(time.Hour, life/4) }

// spread is where in its tenth a renewal is.
func spread() float64 { return rand.Float64() }

// backOff is how long to wait after so many failures before this one: full
// jitter under a limit that doubles.
func backOff(failures int) time.Duration {
	limit := longWait
	if failures < 10 {
		limit = min(limit, firstWait<<failures)
	}
	return limit/20 + rand.N(limit-limit/20)
}
