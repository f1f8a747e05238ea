package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// made is before which no clock of a fleet can be right.
var made = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	newestTime = "newest_time" // in meta
	keepEvery  = time.Minute

	sqlKeepTime = `INSERT INTO meta (name, value) VALUES ('` + newestTime + `', ?1)
		ON CONFLICT (name) DO UPDATE SET value = max(value, ?1)`
)

// Now is the fleet's time, UTC: the wall clock, or where that has gone back,
// as after a flat battery, the newest time that was seen and what passed since.
// It never goes back in a run, and over a restart by no more than a minute, or
// since the last write.
func (s *Store) Now() time.Time {
	c := &s.clock
	c.Lock()
	defer c.Unlock()
	at := time.Now()
	if passed := at.Sub(c.at); passed > 0 {
		c.newest = c.newest.Add(passed)
	}
	if wall := at.UTC().Round(0); wall.After(c.newest) {
		c.newest = wall
	}
	c.at = at
	return c.newest
}

func (s *Store) startClock(newest int64) {
	s.clock.newest, s.clock.at = made, time.Now()
	if t := time.Unix(0, newest).UTC(); t.After(made) {
		s.clock.newest, s.clock.kept = t, t
	}
}

// keepTimeIn writes the time down along with whatever is written, once a
// minute at most.
func (s *Store) keepTimeIn(ctx context.Context, tx *sql.Tx) error {
	now := s.Now()
	s.clock.Lock()
	due := now.Sub(s.clock.kept) >= keepEvery
	s.clock.Unlock()
	if !due {
		return nil
	}
	if _, err := tx.StmtContext(ctx, s.on.keepTime).ExecContext(ctx, now.UnixNano()); err != nil {
		return err
	}
	s.clock.Lock()
	s.clock.kept = now
	s.clock.Unlock()
	return nil
}

// keepTime writes the time down for good, at the end.
func (s *Store) keepTime() error {
	if _, err := s.on.keepTime.Exec(s.Now().UnixNano()); err != nil {
		return s.explain(err)
	}
	return nil
}

// SetClockBack makes the wall clock the fleet's time again, where the newest
// time that was seen lies ahead because the clock once stood wrong. It says
// where that was. Only a person can know that; no service may use the store
// meanwhile, since its own memory would put the time back.
func (s *Store) SetClockBack(ctx context.Context) (was time.Time, err error) {
	was = s.Now()
	wall := time.Now().UTC().Round(0)
	if !wall.After(made) {
		return was, fmt.Errorf("set the fleet's clock back: this machine's clock says %s, which can't be: set it first", wall.Format(time.DateTime))
	}
	s.clock.Lock() // before it is written: each write writes the time down too
	s.clock.newest, s.clock.at, s.clock.kept = wall, time.Now(), wall
	s.clock.Unlock()
	if _, err = s.one(ctx, `UPDATE meta SET value = ? WHERE name = '`+newestTime+`'`, wall.UnixNano()); err != nil {
		return was, fmt.Errorf("set the fleet's clock back: %w", err)
	}
	return was, nil
}
