package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
)

// AddDevice enrols a device: its group is the token's, its time of enrolment
// Now. The token is used up in the same transaction, so that of two that come
// at once one gets ErrUsed. ErrExpired and ErrNotFound are the token's too,
// ErrExists is the device's, and leaves the token as it was.
func (s *Store) AddDevice(ctx context.Context, d Device, token [32]byte) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var group, usedBy string
		var expires int64
		err := tx.QueryRowContext(ctx, `SELECT grp, expires, used_by FROM enrol_token WHERE key = ?`, token[:]).Scan(&group, &expires, &usedBy)
		now := s.Now()
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("the token: %w", ErrNotFound)
		case err != nil:
			return err
		case usedBy != "":
			return fmt.Errorf("the token, by device %s: %w", usedBy, ErrUsed)
		case now.UnixNano() >= expires:
			return fmt.Errorf("the token, at %s: %w", wire.Time(expires).Format(time.RFC3339), ErrExpired)
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO device (id, grp, label, hostname, enrolled, serial, not_after) VALUES (?, ?, ?, ?, ?, ?, ?)`,
			d.ID, group, d.Label, d.Hostname, now.UnixNano(), d.CertSerial, nanos(d.CertNotAfter))
		if taken(err) {
			return ErrExists
		} else if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE enrol_token SET used_by = ? WHERE key = ?`, d.ID, token[:])
		return err
	})
	if err != nil {
		return fmt.Errorf("enrol device %s: %w", d.ID, err)
	}
	return nil
}

// SetCertificate notes a device's newest certificate. A device that was
// revoked is ErrNotFound too: it gets none.
func (s *Store) SetCertificate(ctx context.Context, device, serial string, notAfter time.Time) error {
	return s.must(ctx, "certificate of device "+device,
		`UPDATE device SET serial = ?, not_after = ? WHERE id = ? AND revoked = 0`, serial, nanos(notAfter), device)
}

// Revoke ends a device's right to send, for ever. Once again it changes
// nothing.
func (s *Store) Revoke(ctx context.Context, device string, at time.Time) error {
	return s.must(ctx, "revoke device "+device,
		`UPDATE device SET revoked = CASE revoked WHEN 0 THEN ? ELSE revoked END WHERE id = ?`, nanos(at), device)
}

const sqlDevices = `SELECT d.id, d.grp, d.label, d.hostname, d.enrolled, d.serial, d.not_after, d.revoked, d.connection, d.connected,
	d.ended, d.heard, d.every, d.hello, d.state, d.state_at, d.epoch, coalesce(e.watermark, 0)
	FROM device d LEFT JOIN epoch e ON e.device = d.key AND e.epoch = d.epoch `

const sqlLast = sqlRow + `FROM device d CROSS JOIN result r CROSS JOIN epoch e ON e.key = r.epoch
	WHERE r.id = (SELECT id FROM result WHERE device = d.key ORDER BY id DESC LIMIT 1) `

// Devices are all of them, by ID.
func (s *Store) Devices(ctx context.Context) ([]Device, error) {
	all, err := s.devices(ctx, "ORDER BY d.id", "")
	if err != nil {
		return nil, fmt.Errorf("devices: %w", err)
	}
	return all, nil
}

// Device is one of them; ErrNotFound without.
func (s *Store) Device(ctx context.Context, id string) (*Device, error) {
	d, err := first(s.devices(ctx, "WHERE d.id = ?", "AND d.id = ?", id))
	if err != nil {
		return nil, fmt.Errorf("device %s: %w", id, err)
	}
	return d, nil
}

func (s *Store) devices(ctx context.Context, which, last string, args ...any) ([]Device, error) {
	all, err := rows(ctx, s, scanDevice, sqlDevices+which, args...)
	if err != nil {
		return nil, err
	}
	newest, err := rows(ctx, s, scanRow, sqlLast+last, args...)
	if err != nil {
		return nil, err
	}
	of := make(map[string]*Row, len(newest))
	for i := range newest {
		newest[i].Record = nil
		of[newest[i].Device] = &newest[i]
	}
	for i := range all {
		all[i].Last = of[all[i].ID]
	}
	return all, nil
}

func scanDevice(from *sql.Rows) (Device, error) {
	var d Device
	var enrolled, notAfter, revoked, connection, connected, ended, heard, every, stateAt, epoch int64
	var hello, state sql.RawBytes
	if err := from.Scan(&d.ID, &d.Group, &d.Label, &d.Hostname, &enrolled, &d.CertSerial, &notAfter, &revoked, &connection, &connected,
		&ended, &heard, &every, &hello, &state, &stateAt, &epoch, &d.Watermark); err != nil {
		return d, err
	}
	d.Enrolled, d.CertNotAfter, d.Revoked = wire.Time(enrolled), wire.Time(notAfter), wire.Time(revoked)
	d.Connection, d.Connected, d.Ended, d.Heard = uint64(connection), wire.Time(connected), wire.Time(ended), wire.Time(heard)
	d.Every, d.StateAt, d.Epoch = time.Duration(every), wire.Time(stateAt), uint64(epoch)
	if hello != nil {
		d.Hello = new(wire.Hello)
		if err := wire.Unmarshal(hello, d.Hello); err != nil {
			return d, err
		}
	}
	if state != nil {
		d.State = new(wire.State)
		if err := wire.Unmarshal(state, d.State); err != nil {
			return d, err
		}
	}
	return d, nil
}
