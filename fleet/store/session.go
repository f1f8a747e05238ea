package store

import (
	"context"
	"time"
)

// ExtendSession moves a login's end, in the way that its use does; ErrNotFound
// where it has been ended.
func (s *Store) ExtendSession(ctx context.Context, key [32]byte, expires time.Time) error {
	return s.must(ctx, "extend a session", `UPDATE session SET expires = ? WHERE key = ?`, nanos(expires), key[:])
}
