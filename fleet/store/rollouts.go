package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
)

// Rollout is a bundle on its way to devices. What its state and conditions
// mean is fleet/rollout's affair.
type Rollout struct {
	ID              string
	Bundle, Version string
	Digest          [32]byte // SHA-256 of the bundle's archive
	Target          string   // its path in the repository
	Golden          bool     // the bundle has golden pictures
	Group           string
	Waves           string // as they were asked for
	Conditions      string // JSON
	State, Reason   string
	Wave            int       // the open one, from 0
	Opened          time.Time // when that was, or when it was resumed
	By              string    // user
	Created         time.Time
	Changed         time.Time
	Ended           time.Time // zero while the fleet does something about it
}

// RolloutDevice is how one device is with a rollout.
type RolloutDevice struct {
	Device              string
	Wave                int
	State, Reason, Text string
	Forgiven            bool             // its failure counts no more
	Act                 wire.Command_Act // what is wanted of it now
	Nonce               [16]byte         // of that command
	Sent                int              // how often it was sent
	SentAt              time.Time
	Heard               time.Time     // the newest report about that command, zero before
	Worked              time.Duration // for which it was connected and not done
	Report              *wire.Report  // the newest about that command, nil before
	Proven              time.Time
	Changed             time.Time // of State
}

// RolloutEvent is a line of a rollout's history.
type RolloutEvent struct {
	ID     int64
	At     time.Time
	Device string // "" for the whole rollout
	What   string
	Who    string // user, device, or fleet
}

// RolloutChange is what is written of one rollout at once.
type RolloutChange struct {
	Rollout *Rollout        // new, or as it is now; never nil
	Devices []RolloutDevice // new ones, and as they are now
	Events  []RolloutEvent
}

const (
	sqlSetRollout = `INSERT INTO rollout (id, bundle, version, digest, target, golden, grp, waves, conditions, state, reason, wave, opened, begun_by, created, changed, ended)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, reason = excluded.reason, wave = excluded.wave, opened = excluded.opened,
		changed = excluded.changed, ended = excluded.ended`
	sqlSetRolloutDevice = `INSERT INTO rollout_device (rollout, device, wave, state, reason, text, forgiven, act, nonce, sent, sent_at, heard, worked, report, proven, changed)
		SELECT r.key, d.key, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16 FROM rollout r, device d WHERE r.id = ?1 AND d.id = ?2
		ON CONFLICT (rollout, device) DO UPDATE SET wave = excluded.wave, state = excluded.state, reason = excluded.reason, text = excluded.text, forgiven = excluded.forgiven,
		act = excluded.act, nonce = excluded.nonce, sent = excluded.sent, sent_at = excluded.sent_at, heard = excluded.heard, worked = excluded.worked,
		report = excluded.report, proven = excluded.proven, changed = excluded.changed`
	sqlAddRolloutEvent = `INSERT INTO rollout_event (rollout, at, device, what, who) SELECT key, ?2, ?3, ?4, ?5 FROM rollout WHERE id = ?1`
)

// SetRollouts writes the changes in one transaction.
func (s *Store) SetRollouts(ctx context.Context, changes ...RolloutChange) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, c := range changes {
			if err := setRollout(ctx, tx, c); err != nil {
				return fmt.Errorf("rollout %s: %w", c.Rollout.ID, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("note rollouts: %w", err)
	}
	return nil
}

func setRollout(ctx context.Context, tx *sql.Tx, c RolloutChange) error {
	r := c.Rollout
	if _, err := tx.ExecContext(ctx, sqlSetRollout, r.ID, r.Bundle, r.Version, r.Digest[:], r.Target, r.Golden, r.Group, r.Waves, r.Conditions,
		r.State, r.Reason, r.Wave, nanos(r.Opened), r.By, nanos(r.Created), nanos(r.Changed), nanos(r.Ended)); err != nil {
		return err
	}
	if err := setRolloutDevices(ctx, tx, c); err != nil {
		return err
	}
	for _, e := range c.Events {
		if _, err := tx.ExecContext(ctx, sqlAddRolloutEvent, r.ID, nanos(e.At), e.Device, e.What, e.Who); err != nil {
			return err
		}
	}
	return nil
}

func setRolloutDevices(ctx context.Context, tx *sql.Tx, c RolloutChange) error {
	if len(c.Devices) == 0 {
		return nil
	}
	set, err := tx.PrepareContext(ctx, sqlSetRolloutDevice)
	if err != nil {
		return err
	}
	defer set.Close() // the transaction's end would too
	for i := range c.Devices {
		d := &c.Devices[i]
		var report []byte
		if d.Report != nil {
			if report, err = wire.Marshal(d.Report); err != nil {
				return err
			}
		}
		done, err := set.ExecContext(ctx, c.Rollout.ID, d.Device, d.Wave, d.State, d.Reason, d.Text, d.Forgiven, int64(d.Act), d.Nonce[:],
			d.Sent, nanos(d.SentAt), nanos(d.Heard), int64(d.Worked), report, nanos(d.Proven), nanos(d.Changed))
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err == nil && n == 0 {
			return fmt.Errorf("device %s: %w", d.Device, ErrNotFound)
		}
	}
	return nil
}

// Rollouts are the newest ones first, at most so many.
func (s *Store) Rollouts(ctx context.Context, most int) ([]Rollout, error) {
	return s.rollouts(ctx, "ORDER BY key DESC LIMIT ?", most)
}

// OpenRollouts are those that haven't ended, oldest first.
func (s *Store) OpenRollouts(ctx context.Context) ([]Rollout, error) {
	return s.rollouts(ctx, "WHERE ended = 0 ORDER BY key")
}

// Rollout is one of them; ErrNotFound without.
func (s *Store) Rollout(ctx context.Context, id string) (*Rollout, error) {
	r, err := first(s.rollouts(ctx, "WHERE id = ?", id))
	if err != nil {
		return nil, fmt.Errorf("rollout %s: %w", id, err)
	}
	return r, nil
}

func (s *Store) rollouts(ctx context.Context, which string, args ...any) ([]Rollout, error) {
	all, err := rows(ctx, s, func(from *sql.Rows) (r Rollout, err error) {
		var opened, created, changed, ended int64
		var digest []byte
		err = from.Scan(&r.ID, &r.Bundle, &r.Version, &digest, &r.Target, &r.Golden, &r.Group, &r.Waves, &r.Conditions, &r.State, &r.Reason,
			&r.Wave, &opened, &r.By, &created, &changed, &ended)
		copy(r.Digest[:], digest)
		r.Opened, r.Created, r.Changed, r.Ended = wire.Time(opened), wire.Time(created), wire.Time(changed), wire.Time(ended)
		return r, err
	}, `SELECT id, bundle, version, digest, target, golden, grp, waves, conditions, state, reason, wave, opened, begun_by, created, changed, ended FROM rollout `+which, args...)
	if err != nil {
		return nil, fmt.Errorf("rollouts: %w", err)
	}
	return all, nil
}

// RolloutDevices are a rollout's, by wave and ID.
func (s *Store) RolloutDevices(ctx context.Context, id string) ([]RolloutDevice, error) {
	all, err := rows(ctx, s, scanRolloutDevice, `SELECT d.id, o.wave, o.state, o.reason, o.text, o.forgiven, o.act, o.nonce, o.sent, o.sent_at,
		o.heard, o.worked, o.report, o.proven, o.changed
		FROM rollout r JOIN rollout_device o ON o.rollout = r.key JOIN device d ON d.key = o.device WHERE r.id = ? ORDER BY o.wave, d.id`, id)
	if err != nil {
		return nil, fmt.Errorf("devices of rollout %s: %w", id, err)
	}
	return all, nil
}

func scanRolloutDevice(from *sql.Rows) (d RolloutDevice, err error) {
	var act, sentAt, heard, worked, proven, changed int64
	var nonce, report []byte
	if err = from.Scan(&d.Device, &d.Wave, &d.State, &d.Reason, &d.Text, &d.Forgiven, &act, &nonce, &d.Sent, &sentAt,
		&heard, &worked, &report, &proven, &changed); err != nil {
		return d, err
	}
	copy(d.Nonce[:], nonce)
	d.Act, d.Worked = wire.Command_Act(act), time.Duration(worked)
	d.SentAt, d.Heard, d.Proven, d.Changed = wire.Time(sentAt), wire.Time(heard), wire.Time(proven), wire.Time(changed)
	if report != nil {
		d.Report = new(wire.Report)
		err = wire.Unmarshal(report, d.Report)
	}
	return d, err
}

// RolloutEvents are a rollout's newest ones first, at most so many.
func (s *Store) RolloutEvents(ctx context.Context, id string, most int) ([]RolloutEvent, error) {
	all, err := rows(ctx, s, func(from *sql.Rows) (e RolloutEvent, err error) {
		var at int64
		err = from.Scan(&e.ID, &at, &e.Device, &e.What, &e.Who)
		e.At = wire.Time(at)
		return e, err
	}, `SELECT id, at, device, what, who FROM rollout_event WHERE rollout = (SELECT key FROM rollout WHERE id = ?) ORDER BY id DESC LIMIT ?`, id, most)
	if err != nil {
		return nil, fmt.Errorf("events of rollout %s: %w", id, err)
	}
	return all, nil
}
