package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
)

// maxEvery bounds what a device says of its own interval: one that says that
// it will be silent for a year would never be stale.
const maxEvery = time.Hour

// Only Hello makes a connection the current one. What another one says moves
// nothing but heard, and its end not even that: the broker sends a will, late.
const (
	sqlHello = `UPDATE device SET heard = max(heard, ?2), connection = ?3, connected = ?2, ended = 0, hello = ?4, epoch = ?5
		WHERE id = ?1 AND revoked = 0`
	sqlOnline = `UPDATE device SET heard = max(heard, ?2),
		connected = CASE connection WHEN ?3 THEN ?4 ELSE connected END,
		ended = CASE connection WHEN ?3 THEN 0 ELSE ended END
		WHERE id = ?1 AND revoked = 0`
	sqlOffline = `UPDATE device SET ended = ?2 WHERE id = ?1 AND connection = ?3 AND connection <> 0 AND ended = 0 AND revoked = 0`
	sqlState   = `UPDATE device SET heard = max(heard, ?2),
		connected = CASE WHEN connection = ?3 AND ended = 0 THEN ?4 ELSE connected END,
		state = ?5, state_at = ?2, every = ?6
		WHERE id = ?1 AND revoked = 0`
	sqlHearing = `UPDATE device SET heard = max(heard, ?2) WHERE id = ?1 AND revoked = 0`
)

// Heard notes the signs, in their order, in one transaction. Those of devices
// that aren't enrolled, or were revoked, are left out.
func (s *Store) Heard(ctx context.Context, signs []Sign) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, sign := range signs {
			if err := s.heard(ctx, tx, sign); err != nil {
				return fmt.Errorf("device %s: %w", sign.Device, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("note what was heard of devices: %w", err)
	}
	return nil
}

func (s *Store) heard(ctx context.Context, tx *sql.Tx, sign Sign) error {
	stmt, args := s.on.hearing, []any{sign.Device, nanos(sign.At)}
	switch {
	case sign.Hello != nil:
		body, err := wire.Marshal(sign.Hello)
		if err != nil {
			return err
		}
		stmt, args = s.on.hello, append(args, int64(sign.Hello.GetConnection()), body, int64(sign.Hello.GetEpoch()))
	case sign.Life.GetOnline():
		stmt, args = s.on.online, append(args, int64(sign.Life.GetConnection()), since(sign.At, sign.Life.GetAgeMs()))
	case sign.Life != nil:
		stmt, args = s.on.offline, append(args, int64(sign.Life.GetConnection()))
	case sign.State != nil:
		body, err := wire.Marshal(sign.State)
		if err != nil {
			return err
		}
		every := min(time.Duration(sign.State.GetEveryMs())*time.Millisecond, maxEvery)
		stmt, args = s.on.state, append(args, int64(sign.State.GetConnection()), since(sign.At, sign.State.GetAgeMs()), body, int64(every))
	}
	_, err := tx.StmtContext(ctx, stmt).ExecContext(ctx, args...)
	return err
}

// since is when what is so old began.
func since(at time.Time, ageMs uint32) int64 {
	return nanos(at.Add(-time.Duration(ageMs) * time.Millisecond))
}
