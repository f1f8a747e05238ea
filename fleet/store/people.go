package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/sync/wire"
)

// AddUser adds a user, created Now; ErrExists where the name is taken.
func (s *Store) AddUser(ctx context.Context, u User) error {
	_, err := s.one(ctx, `INSERT INTO user (name, role, hash, created) VALUES (?, ?, ?, ?)`, u.Name, int64(u.Role), u.Hash, s.Now().UnixNano())
	if taken(err) {
		err = ErrExists
	}
	if err != nil {
		return fmt.Errorf("add user %s: %w", u.Name, err)
	}
	return nil
}

// User is the one with that name; ErrNotFound without.
func (s *Store) User(ctx context.Context, name string) (*User, error) {
	u, err := first(s.users(ctx, `WHERE name = ?`, name))
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", name, err)
	}
	return u, nil
}

// Users are all of them, by name.
func (s *Store) Users(ctx context.Context) ([]User, error) {
	all, err := s.users(ctx, `ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("users: %w", err)
	}
	return all, nil
}

func (s *Store) users(ctx context.Context, which string, args ...any) ([]User, error) {
	return rows(ctx, s, func(r *sql.Rows) (u User, err error) {
		var created int64
		err = r.Scan(&u.Name, &u.Role, &u.Hash, &created)
		u.Created = wire.Time(created)
		return u, err
	}, `SELECT name, role, hash, created FROM user `+which, args...)
}

// SetPassword gives a user another password, by its hash, and ends what the
// old one let in: the user's sessions and API tokens.
func (s *Store) SetPassword(ctx context.Context, name, hash string) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE user SET hash = ? WHERE name = ?`, hash, name)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, ErrNotFound)
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM session WHERE user = ?`, name)
		if err == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM api_token WHERE user = ?`, name)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("set the password of user %s: %w", name, err)
	}
	return nil
}

// RenewHash replaces the hash of a user's password by another one of the same
// password. ErrNotFound where the old one isn't the user's any more.
func (s *Store) RenewHash(ctx context.Context, name, old, hash string) error {
	return s.must(ctx, "renew the password's hash of user "+name, `UPDATE user SET hash = ? WHERE name = ? AND hash = ?`, hash, name, old)
}

// RemoveUser removes a user with all sessions and tokens.
func (s *Store) RemoveUser(ctx context.Context, name string) error {
	return s.must(ctx, "remove user "+name, `DELETE FROM user WHERE name = ?`, name)
}

// AddSession adds a login, begun Now, and removes those that have expired. Its
// role is the user's.
func (s *Store) AddSession(ctx context.Context, n Session) error {
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		now := s.Now().UnixNano()
		if _, err := tx.ExecContext(ctx, `DELETE FROM session WHERE expires <= ?`, now); err != nil {
			return err
		}
		r, err := tx.ExecContext(ctx, `INSERT INTO session (key, user, begun, expires) SELECT ?, name, ?, ? FROM user WHERE name = ?`,
			n.Key[:], now, nanos(n.Expires), n.User)
		if err != nil {
			return err
		}
		if added, err := r.RowsAffected(); err != nil || added == 0 {
			return errors.Join(err, ErrNotFound)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("add a session of user %s: %w", n.User, err)
	}
	return nil
}

// Session is the one with that key, its role the user's of today. ErrNotFound
// without, ErrExpired once it is over.
func (s *Store) Session(ctx context.Context, key [32]byte, now time.Time) (*Session, error) {
	n, err := first(rows(ctx, s, func(r *sql.Rows) (n Session, err error) {
		var begun, expires int64
		err = r.Scan(&n.User, &n.Role, &begun, &expires)
		n.Key, n.Begun, n.Expires = key, wire.Time(begun), wire.Time(expires)
		return n, err
	}, `SELECT s.user, u.role, s.begun, s.expires FROM session s JOIN user u ON u.name = s.user WHERE s.key = ?`, key[:]))
	if err == nil && !now.Before(n.Expires) {
		err = ErrExpired
	}
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	return n, nil
}

// RemoveSession ends a login; one that isn't there is ended.
func (s *Store) RemoveSession(ctx context.Context, key [32]byte) error {
	if _, err := s.one(ctx, `DELETE FROM session WHERE key = ?`, key[:]); err != nil {
		return fmt.Errorf("remove a session: %w", err)
	}
	return nil
}

// lower is the lesser of two roles: no token outlives its user's demotion.
func lower(a, b auth.Role) auth.Role {
	if a.May(b) {
		return b
	}
	return a
}
