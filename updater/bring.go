package updater

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/mirror"
	"github.com/sightline-edge/sightline/updater/transfer"
	"github.com/sightline-edge/sightline/updater/trust"
)

const (
	firstPause   = time.Second // before something is tried again; doubled each time
	longestPause = 5 * time.Minute
	fileTime     = time.Minute // for one file of metadata
	stallTime    = 30 * time.Second
	maxRefused   = 3               // times that metadata is refused before the command is
	tellProgress = 2 * time.Second // between reports of it
)

// progress of a bundle that is being fetched.
type progress struct {
	done, total int64 // bytes
	moved       time.Time
}

// trouble is why fetching for a command waits.
type trouble struct {
	times   int
	refused int
	resume  time.Time
}

// fetching is what is being fetched now.
type fetching struct {
	bundle string
	stop   context.CancelFunc
}

// errCommand is about a command that the signed metadata doesn't agree with.
var errCommand = errors.New("signed metadata doesn't agree with the command")

// bring fetches what is commanded, one bundle after the other, until ctx ends.
func (u *Updater) bring(ctx context.Context) {
	for ctx.Err() == nil {
		c, wait := u.due()
		if c != nil {
			u.bringOne(ctx, c)
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-u.fetch:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// due is a command whose bundle is to be fetched now, or how long until then.
func (u *Updater) due() (*command, time.Duration) {
	wait := time.Hour
	for _, c := range u.device.Load().Commands {
		if len(u.wanting(c)) == 0 {
			continue
		}
		u.mu.Lock()
		left := time.Until(u.trouble[c.id()].resume)
		u.mu.Unlock()
		if left <= 0 {
			return c, 0
		}
		wait = min(wait, left)
	}
	return nil, wait
}

// wanting are the stations that wait for the command's bundle.
func (u *Updater) wanting(c *command) []*station {
	if c.Act != install {
		return nil
	}
	return slices.DeleteFunc(u.followers(c.Bundle), func(s *station) bool { return !waitsFor(c)(s.rec.Load()) })
}

// waitsFor says of a record whether its station waits for the command's
// bundle.
func waitsFor(c *command) func(*record) bool {
	return func(r *record) bool { return r.Job.id() == c.id() && (r.Phase == Assigned || r.Phase == Transfer) }
}

func (u *Updater) bringOne(ctx context.Context, c *command) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	u.mu.Lock()
	u.running = &fetching{c.Bundle, stop}
	u.mu.Unlock()
	unpin := u.pin(c.Digest)
	err := u.fetchOne(ctx, c)
	unpin()
	u.mu.Lock()
	u.running = nil
	if err == nil {
		delete(u.trouble, c.id())
	}
	u.mu.Unlock()
	if err != nil && ctx.Err() == nil { // else the program ends, or another command came
		u.unfetched(c, err)
	}
	if err != nil && len(u.wanting(c)) == 0 { // it was taken back while it was kept
		u.collect()
	}
}

// unfetched refuses the command, or says when it is tried again.
func (u *Updater) unfetched(c *command, err error) {
	reason, final := classify(err)
	u.mu.Lock()
	t := u.trouble[c.id()]
	if reason == Untrusted && !errors.Is(err, errDigest) {
		t.refused++
		final = t.refused >= maxRefused
	}
	t.resume = time.Now().Add(pause(t.times))
	t.times++
	if len(u.trouble) > maxInbox {
		clear(u.trouble)
	}
	u.trouble[c.id()] = t
	u.mu.Unlock()
	u.log.Warn("a bundle can't be fetched", "bundle", c.Digest, "reason", string(reason), "final", final, "err", err)
	for _, s := range u.wanting(c) {
		if !final {
			s.wait(u, reason, err.Error())
			continue
		}
		if err := u.recordIf(s, refuse, waitsFor(c), func(r *record) { r.failed(reason, err.Error(), u.now()) }); err != nil {
			s.wait(u, Storage, err.Error())
		}
	}
	if final {
		u.collect()
	}
}

// pause is how long to wait after so many failures, with up to a third more or
// less so that devices don't stay in step.
func pause(times int) time.Duration {
	d := min(firstPause<<min(times, 20), longestPause)
	return d*2/3 + rand.N(d*2/3+1)
}

// classify says what an error of fetching means, and whether it is for good.
func classify(err error) (reason Reason, final bool) {
	var refusal *trust.Refusal
	var room *transfer.NoRoom
	var path *fs.PathError
	switch {
	case errors.Is(err, errDigest), errors.Is(err, errCommand), errors.As(err, &refusal):
		return Untrusted, true
	case errors.Is(err, bundle.ErrInvalid), errors.Is(err, transfer.ErrWrong):
		return Damaged, true
	case errors.As(err, &room), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return NoSpace, false
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.EROFS), errors.As(err, &path):
		return Storage, false
	case errors.Is(err, transfer.ErrMissing), errors.Is(err, transfer.ErrRefused):
		return Busy, false
	default:
		return FleetUnreachable, false
	}
}

// patient bounds each file of metadata: without a connection a source waits.
type patient struct{ mirror.Source }

func (p patient) Metadata(ctx context.Context, name string, max int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fileTime)
	defer cancel()
	return p.Source.Metadata(ctx, name, max)
}

// fetchOne does all from the command to the unpacked bundle, for the stations
// that wait for it.
func (u *Updater) fetchOne(ctx context.Context, c *command) error {
	if c.Local {
		return u.fetchedBefore(c)
	}
	if u.cfg.Mirror == nil || u.cfg.Source == nil || u.cfg.Fetch == nil {
		return errors.New("this device has no fleet, or no pinned root: enrol it")
	}
	t, err := u.signed(ctx, patient{u.cfg.Source}, c)
	if err != nil {
		return err
	}
	if err := u.found(c); err != nil {
		return err
	}
	if err := u.whole(c); err != nil {
		path, err := u.cfg.Fetch(ctx, *t, u.progressOf(c.Digest))
		if err != nil {
			return err
		}
		err = u.unpack(ctx, path, t.Length, c)
		if err == nil || errors.Is(err, bundle.ErrInvalid) || errors.Is(err, errDigest) {
			if err := u.disk.remove("archive", path); err != nil {
				u.log.Warn("an archive can't be removed", "path", path, "err", err)
			}
		}
		if err != nil {
			return err
		}
	}
	return u.staged(c)
}

// fetchedBefore stages what Local has verified and unpacked already.
func (u *Updater) fetchedBefore(c *command) error {
	if err := u.whole(c); err != nil {
		return fmt.Errorf("what was copied from the folder is damaged, give it again: %w", err)
	}
	if err := u.found(c); err != nil {
		return err
	}
	return u.staged(c)
}

// found tells the stations that wait for it that the command is signed for.
func (u *Updater) found(c *command) error {
	for _, s := range u.wanting(c) {
		if err := u.recordIf(s, found, waitsFor(c), func(r *record) { r.Reason, r.Text = "", "" }); err != nil {
			return err
		}
		s.unwait()
	}
	return nil
}

// staged tells the stations that wait for it that the bundle is there.
func (u *Updater) staged(c *command) error {
	transfers := func(r *record) bool { return waitsFor(c)(r) && r.Phase == Transfer }
	for _, s := range u.wanting(c) { // one that took the command up since then comes with the next turn
		err := u.recordIf(s, unpacked, transfers, func(r *record) {
			*r.slot(r.other()) = place{Digest: c.Digest, Version: c.Version}
			r.Reason, r.Text = "", ""
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// signed brings the metadata up to date and finds the command's target in it.
func (u *Updater) signed(ctx context.Context, src mirror.Source, c *command) (*trust.Target, error) {
	u.metadata.Lock()
	defer u.metadata.Unlock()
	err := u.disk.do("refresh", func() error {
		return u.cfg.Mirror.Refresh(ctx, src, trust.Floor(time.Now(), time.Time{}, u.cfg.Build))
	})
	if err != nil {
		return nil, err
	}
	t, err := u.cfg.Mirror.Target(ctx, src, c.Target)
	switch {
	case err != nil:
		return nil, err
	case hex.EncodeToString(t.SHA256[:]) != c.Digest && !c.Local:
		return nil, fmt.Errorf("look for %s: %w: its SHA-256 is %x, commanded is %s", c.Target, errCommand, t.SHA256, c.Digest)
	case t.Length <= 0:
		return nil, fmt.Errorf("look for %s: %w: it has no length", c.Target, errCommand)
	}
	return t, nil
}

// progressOf gives what a fetch calls as it goes on.
func (u *Updater) progressOf(digest string) func(done, total int64) {
	var told atomic.Int64
	began := time.Now()
	return func(done, total int64) {
		u.mu.Lock()
		p := u.progress[digest]
		if p.done != done || p.moved.IsZero() {
			p.moved = time.Now()
		}
		p.done, p.total = done, total
		if len(u.progress) > maxInbox {
			clear(u.progress)
		}
		u.progress[digest] = p
		u.mu.Unlock()
		now := int64(time.Since(began) / tellProgress)
		if told.Swap(now) != now || done == total {
			poke(u.tell)
		}
	}
}
