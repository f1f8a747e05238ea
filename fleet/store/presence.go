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

// late is by how much one of a device's messages may come after another that
// was sent later.
const late = 5 * time.Second

// Hello makes its connection the current one. A state, or word that a
// connection is there, does so too if that one is newer by its age, so that a
// device of which the Hello's sign was lost isn't offline for ever. Both times
// are by the fleet's clock, of which the age is taken. That makes a connection
// seem younger by what its message took on the way: an old one's last message
// must not pass it off as newer, hence late. Where that makes a mistake, for a
// clock that jumped or a message that took longer, the next message puts it
// right: of the newer connection if that is newer by more than late, and of any
// other than the current one once the current has ended for so long. What a
// connection that isn't current says moves nothing else but heard, and its end
// not even that: the broker sends a will, late.
var (
	sqlNewer = fmt.Sprintf(`?3 <> 0 AND ?3 <> connection AND (?4 > connected + %[1]d OR ended <> 0 AND ?2 > ended + %[1]d)`, late)

	sqlOnline = `UPDATE device SET heard = max(heard, ?2),
		connection = CASE WHEN ` + sqlNewer + ` THEN ?3 ELSE connection END,
		connected = CASE WHEN connection = ?3 OR ` + sqlNewer + ` THEN ?4 ELSE connected END,
		ended = CASE WHEN connection = ?3 OR ` + sqlNewer + ` THEN 0 ELSE ended END
		WHERE id = ?1 AND revoked = 0`
	sqlState = `UPDATE device SET heard = max(heard, ?2),
		connection = CASE WHEN ` + sqlNewer + ` THEN ?3 ELSE connection END,
		connected = CASE WHEN connection = ?3 AND ended = 0 OR ` + sqlNewer + ` THEN ?4 ELSE connected END,
		ended = CASE WHEN ` + sqlNewer + ` THEN 0 ELSE ended END,
		state = ?5, state_at = ?2, every = ?6
		WHERE id = ?1 AND revoked = 0`
)

const (
	sqlHello = `UPDATE device SET heard = max(heard, ?2), connection = ?3, connected = ?2, ended = 0, hello = ?4, epoch = ?5
		WHERE id = ?1 AND revoked = 0`
	sqlOffline = `UPDATE device SET ended = ?2 WHERE id = ?1 AND connection = ?3 AND connection <> 0 AND ended = 0 AND revoked = 0`
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
