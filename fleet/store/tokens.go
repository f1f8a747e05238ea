package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/sync/wire"
)

// keepTokens is for how long enrolment tokens that are used or expired are
// still listed.
const keepTokens = 30 * 24 * time.Hour

// AddAPIToken adds a token, created Now. ErrExists where the user has one of
// that name, ErrNotFound where there is no such user.
func (s *Store) AddAPIToken(ctx context.Context, t APIToken) error {
	n, err := s.one(ctx, `INSERT INTO api_token (key, name, user, role, created, expires) SELECT ?, ?, name, ?, ?, ? FROM user WHERE name = ?`,
		t.Key[:], t.Name, int64(t.Role), s.Now().UnixNano(), nanos(t.Expires), t.User)
	switch {
	case taken(err):
		err = ErrExists
	case err == nil && n == 0:
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("add token %s of user %s: %w", t.Name, t.User, err)
	}
	return nil
}

// APIToken is the one with that key, its role no more than its user's.
// ErrNotFound without, ErrExpired once it is over.
func (s *Store) APIToken(ctx context.Context, key [32]byte, now time.Time) (*APIToken, error) {
	t, err := first(s.apiTokens(ctx, `WHERE t.key = ?`, key[:]))
	if err == nil && !t.Expires.IsZero() && !now.Before(t.Expires) {
		err = ErrExpired
	}
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	return t, nil
}

// APITokens are all of them, by user and name.
func (s *Store) APITokens(ctx context.Context) ([]APIToken, error) {
	all, err := s.apiTokens(ctx, `ORDER BY t.user, t.name`)
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	return all, nil
}

func (s *Store) apiTokens(ctx context.Context, which string, args ...any) ([]APIToken, error) {
	return rows(ctx, s, func(r *sql.Rows) (t APIToken, err error) {
		var created, expires int64
		var key []byte
		var role auth.Role
		err = r.Scan(&key, &t.Name, &t.User, &t.Role, &role, &created, &expires)
		copy(t.Key[:], key)
		t.Role, t.Created, t.Expires = lower(t.Role, role), wire.Time(created), wire.Time(expires)
		return t, err
	}, `SELECT t.key, t.name, t.user, t.role, u.role, t.created, t.expires FROM api_token t JOIN user u ON u.name = t.user `+which, args...)
}

// RemoveAPIToken removes a token; ErrNotFound without.
func (s *Store) RemoveAPIToken(ctx context.Context, key [32]byte) error {
	return s.must(ctx, "remove a token", `DELETE FROM api_token WHERE key = ?`, key[:])
}

// AddEnrolToken adds a token for one device, created Now, and forgets those
// that were used or expired long ago.
func (s *Store) AddEnrolToken(ctx context.Context, t EnrolToken) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		now := s.Now()
		if _, err := tx.ExecContext(ctx, `DELETE FROM enrol_token WHERE expires < ?`, now.Add(-keepTokens).UnixNano()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO enrol_token (key, grp, created, expires) VALUES (?, ?, ?, ?)`,
			t.Key[:], t.Group, now.UnixNano(), nanos(t.Expires))
		if taken(err) {
			return ErrExists
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("add an enrolment token: %w", err)
	}
	return nil
}

// EnrolToken is the one with that key, used or expired ones too; ErrNotFound
// without.
func (s *Store) EnrolToken(ctx context.Context, key [32]byte) (*EnrolToken, error) {
	t, err := first(s.enrolTokens(ctx, `WHERE key = ?`, key[:]))
	if err != nil {
		return nil, fmt.Errorf("enrolment token: %w", err)
	}
	return t, nil
}

// EnrolTokens are all that are remembered, newest first.
func (s *Store) EnrolTokens(ctx context.Context) ([]EnrolToken, error) {
	all, err := s.enrolTokens(ctx, `ORDER BY created DESC`)
	if err != nil {
		return nil, fmt.Errorf("enrolment tokens: %w", err)
	}
	return all, nil
}

func (s *Store) enrolTokens(ctx context.Context, which string, args ...any) ([]EnrolToken, error) {
	return rows(ctx, s, func(r *sql.Rows) (t EnrolToken, err error) {
		var created, expires int64
		var key []byte
		err = r.Scan(&key, &t.Group, &created, &expires, &t.UsedBy)
		copy(t.Key[:], key)
		t.Created, t.Expires = wire.Time(created), wire.Time(expires)
		return t, err
	}, `SELECT key, grp, created, expires, used_by FROM enrol_token `+which, args...)
}
