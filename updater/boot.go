package updater

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// devices is what is on disk of the device as a whole: the newest command
// about each bundle.
type devices struct {
	Commands map[string]*command `json:"commands"` // by the bundle's name
	Seen     []string            `json:"seen"`     // ids of commands, the newest last: what is sent again late changes nothing
}

const maxSeen = 64

func (d *devices) clone() *devices {
	c := &devices{Commands: maps.Clone(d.Commands), Seen: slices.Clone(d.Seen)}
	if c.Commands == nil {
		c.Commands = map[string]*command{}
	}
	return c
}

// take makes c the newest command about its bundle.
func (d *devices) take(c *command) {
	d.Commands[c.Bundle] = c
	d.Seen = append(slices.DeleteFunc(d.Seen, func(id string) bool { return id == c.id() }), c.id())
	d.Seen = d.Seen[max(len(d.Seen)-maxSeen, 0):]
}

// assignment is the newest command about the bundle of that name, or nil.
func (u *Updater) assignment(bundle string) *command { return u.device.Load().Commands[bundle] }

// load reads all records. One whose two copies are damaged is replaced by one
// that says so; only a disk that can't be read at all is an error.
func (u *Updater) load() error {
	dir := filepath.Join(u.cfg.Dir, stateDir)
	known := map[string]bool{}
	for _, cfg := range u.cfg.Stations {
		if u.station(cfg.ID) != nil {
			return fmt.Errorf("station %q stands twice", cfg.ID)
		}
		s := &station{Station: cfg, wake: make(chan struct{}, 1)}
		s.file = copies{disk: u.disk, name: "station-" + cfg.ID, path: filepath.Join(dir, "station-"+cfg.ID)}
		known[s.file.name] = true
		u.stations = append(u.stations, s)
		u.loadStation(s)
	}
	u.file = copies{disk: u.disk, name: "device", path: filepath.Join(dir, "device")}
	known[u.file.name] = true
	u.loadDevice()
	return u.loadStrangers(dir, known)
}

func (u *Updater) loadStation(s *station) {
	r := newRecord(s.Station)
	body, err := s.file.load()
	if err == nil && body != nil {
		if r, err = decodeRecord(body); err != nil {
			err = fmt.Errorf("read %s: %w", s.file.name, err)
			r = newRecord(s.Station)
		}
	}
	s.rec.Store(r)
	switch {
	case err != nil:
		u.log.Error("what a station ran isn't known: what was commanded last is done anew", "station", s.ID, "err", err)
		u.fact(s, forget, func(r *record) {
			*r = record{Station: s.ID, Bundle: s.Bundle, Phase: r.Phase, Active: nothing, Lost: true, Reason: StateLost, Text: clip(err.Error())}
		})
	case r.Bundle != s.Bundle:
		u.log.Warn("a station follows another bundle now", "station", s.ID, "bundle", s.Bundle, "before", r.Bundle)
		u.fact(s, forget, func(r *record) {
			*r = *newRecord(s.Station)
			r.Reason = OtherBundle
		})
	}
}

// loadDevice reads the commands. The stations' records have what is lost.
func (u *Updater) loadDevice() {
	d := &devices{}
	body, err := u.file.load()
	if err == nil && body != nil {
		err = json.Unmarshal(body, d)
	}
	if err != nil {
		u.log.Warn("the commands on disk are damaged: the stations' are taken", "err", err)
		d = &devices{}
	}
	d = d.clone()
	for _, s := range u.stations {
		job := s.rec.Load().Job
		if at := d.Commands[s.Bundle]; job.Bundle == s.Bundle && (at == nil || at.At.Before(job.At) && !slices.Contains(d.Seen, job.id())) {
			d.take(&job)
		}
	}
	u.device.Store(d)
}

// loadStrangers notes what stations need that aren't configured now.
func (u *Updater) loadStrangers(dir string, known map[string]bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := strings.TrimSuffix(strings.TrimSuffix(e.Name(), copySuffixes[0]), copySuffixes[1])
		if known[name] || name == e.Name() {
			continue
		}
		known[name] = true
		file := copies{name: name, path: filepath.Join(dir, name)}
		body, err := file.load()
		if err != nil || body == nil {
			continue
		}
		if r, err := decodeRecord(body); err == nil {
			u.strangers = append(u.strangers, r.digests()...)
		}
	}
	return nil
}

// start applies to each station what must be decided before it runs anything.
func (u *Updater) start() {
	checked := map[place]error{} // each bundle is read once
	sound := func(p place) error {
		key := place{Factory: p.Factory, Digest: p.Digest}
		err, known := checked[key]
		if !known {
			err = u.sound(p)
			checked[key] = err
		}
		return err
	}
	for _, s := range u.stations {
		u.countBoot(s)
		r := s.rec.Load()
		if r.active().none() {
			continue
		}
		if err := sound(r.active()); err != nil {
			u.log.Error("the active bundle is damaged: the last good one runs instead", "station", s.ID, "bundle", r.active().Digest, "err", err)
			u.fallBack(s, Lost, err.Error(), sound)
		}
	}
}

// countBoot ends a probation during which the program started too often.
// Where the count can't be written, the bundle isn't given another chance
// either.
func (u *Updater) countBoot(s *station) {
	r := s.rec.Load()
	if r.Phase != Probation {
		return
	}
	text := fmt.Sprintf("the program started %d times while it was on probation", r.Boots+1)
	if r.Boots < maxBoots {
		err := u.record(s, boot, func(r *record) { r.Boots++ })
		if err == nil {
			return
		}
		text = "the start can't be counted: " + err.Error()
	}
	u.log.Error("a bundle on probation is rolled back", "station", s.ID, "bundle", r.active().Digest, "reason", text)
	u.fallBack(s, Restarts, text, func(p place) error { return nil })
}

// fallBack runs the best of what is left that sound has nothing against.
func (u *Updater) fallBack(s *station, reason Reason, text string, sound func(place) error) {
	r := s.rec.Load()
	to := place{}
	for _, p := range r.fallbacks() {
		if err := sound(p); err != nil {
			u.log.Error("an earlier bundle is damaged too", "station", s.ID, "bundle", p.Digest, "err", err)
			continue
		}
		to = p
		break
	}
	e := fall
	if r.Phase == Probation || r.Phase == Committed {
		e = back
	}
	u.fact(s, e, func(r *record) {
		if e == back {
			r.failed(reason, text, u.now())
			if reason == Lost { // the disk's fault
				r.forgive()
			}
		} else {
			p := r.active()
			r.Failure = &failure{Digest: p.Digest, Version: p.Version, Phase: RolledBack, Reason: reason, Text: clip(text), At: u.now()}
		}
		if to.none() {
			r.Reason, r.Text = NoGoodLeft, clip(text)
		}
		r.fallTo(to)
		r.Since = u.now()
	})
}

// Active is what the station has to run now: the folder and digest of a whole
// bundle, or, with ok and an empty digest, what the configuration names
// itself, which is so until the first bundle was activated and when it was
// rolled back. Without ok the station has nothing good left, or what it ran
// isn't known; it must not run the configuration's model instead, and says
// why in its Status.
func (u *Updater) Active(id string) (dir, digest, version string, ok bool) {
	s := u.station(id)
	if s == nil {
		return "", "", "", false
	}
	p := s.rec.Load().active()
	switch {
	case p.none():
		return "", "", "", false
	case p.Factory:
		return "", "", "", true
	}
	return u.contentPath(p.Digest), p.Digest, p.Version, true
}

// now is the wall clock, as good as it is.
func (u *Updater) now() time.Time { return time.Now() }

var errIllegal = errors.New("the state machine has no such transition")

// record makes a transition: change edits a copy, which counts once it is on
// disk.
func (u *Updater) record(s *station, e event, change func(r *record)) error {
	_, err := u.transition(s, e, nil, change, false)
	return err
}

// recordIf is record for goroutines other than the station's own, which may
// have gone on meanwhile: it does nothing unless when is so.
func (u *Updater) recordIf(s *station, e event, when func(r *record) bool, change func(r *record)) error {
	_, err := u.transition(s, e, when, change, false)
	return err
}

// fact makes a transition that has happened already, on a station that runs.
// If it can't be written now, it counts, and is written as soon as possible.
// What is on disk until then is good too, only older.
func (u *Updater) fact(s *station, e event, change func(r *record)) {
	wrote, err := u.transition(s, e, nil, change, true)
	if err != nil && wrote {
		u.log.Error("what a station runs can't be written down: it is tried again", "station", s.ID, "event", string(e), "err", err)
	}
}

func (u *Updater) transition(s *station, e event, when func(*record) bool, change func(*record), happened bool) (legal bool, err error) {
	s.save.Lock()
	defer s.save.Unlock()
	old := s.rec.Load()
	if when != nil && !when(old) {
		return true, nil
	}
	phase, err := next(old.Phase, e)
	if err != nil {
		if u.cfg.strict {
			panic(err)
		}
		u.log.Error("a step is refused", "station", s.ID, "err", err)
		return false, fmt.Errorf("%w: %w", errIllegal, err)
	}
	r := old.clone()
	r.Phase = phase
	change(r)
	r.Phase = phase
	err = s.file.save(r.encode())
	if err != nil && !happened {
		return true, err
	}
	s.dirty.Store(err != nil)
	s.rec.Store(r)
	if old.Phase != r.Phase {
		s.unwait()
		u.log.Info("update", "station", s.ID, "bundle", r.Job.Digest, "phase", string(r.Phase), "reason", string(r.Reason), "text", r.Text)
	}
	u.changed()
	return true, err
}

// flush writes what couldn't be written before.
func (u *Updater) flush(s *station) error {
	s.save.Lock()
	defer s.save.Unlock()
	if !s.dirty.Load() {
		return nil
	}
	if err := s.file.save(s.rec.Load().encode()); err != nil {
		return err
	}
	s.dirty.Store(false)
	return nil
}
