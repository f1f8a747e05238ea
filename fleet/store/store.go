package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Store is the open database. Its methods may be called from anywhere at once;
// what they write is on disk when they return.
type Store struct {
	path   string
	writer *sql.DB // one connection, so that writers wait in Go, in turn
	reader *sql.DB
	on     *statements // prepared on the writer

	clock struct {
		sync.Mutex
		newest time.Time // that Now gave
		at     time.Time // when, by this machine's monotonic clock
		kept   time.Time // the newest that is on disk
	}
}

// statements are those that run for each record or message.
type statements struct {
	device, epoch, addEpoch, setEpoch      *sql.Stmt
	addResult, findResult, amend           *sql.Stmt
	addAmendment, addHole, addUnreadable   *sql.Stmt
	judged, holesIn                        *sql.Stmt
	hello, online, offline, state, hearing *sql.Stmt
	keepTime                               *sql.Stmt
}

func (s *Store) prepare(ctx context.Context) error {
	s.on = new(statements)
	for _, p := range []struct {
		to   **sql.Stmt
		text string
	}{
		{&s.on.device, sqlDevice}, {&s.on.epoch, sqlEpoch}, {&s.on.addEpoch, sqlAddEpoch}, {&s.on.setEpoch, sqlSetEpoch},
		{&s.on.addResult, sqlAddResult}, {&s.on.findResult, sqlFindResult}, {&s.on.amend, sqlAmend},
		{&s.on.addAmendment, sqlAddAmendment}, {&s.on.addHole, sqlAddHole}, {&s.on.addUnreadable, sqlAddUnreadable},
		{&s.on.judged, sqlJudged}, {&s.on.holesIn, sqlHolesIn},
		{&s.on.hello, sqlHello}, {&s.on.online, sqlOnline}, {&s.on.offline, sqlOffline},
		{&s.on.state, sqlState}, {&s.on.hearing, sqlHearing},
		{&s.on.keepTime, sqlKeepTime},
	} {
		var err error
		if *p.to, err = s.writer.PrepareContext(ctx, p.text); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the store. What waits for it gets an error.
func (s *Store) Close() error {
	err := s.keepTime()
	return errors.Join(err, s.reader.Close(), s.writer.Close())
}

// write runs a transaction. It waits for its turn as long as ctx lasts, and is
// then carried to its end: half of a group commit is of no use to anybody.
func (s *Store) write(ctx context.Context, do func(ctx context.Context, tx *sql.Tx) error) error {
	conn, err := s.writer.Conn(ctx)
	if err != nil {
		return s.explain(err)
	}
	defer conn.Close() // back to the pool
	ctx = context.WithoutCancel(ctx)
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return s.explain(err)
	}
	if err = do(ctx, tx); err == nil {
		err = s.keepTimeIn(ctx, tx)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		_ = tx.Rollback() // fails where SQLite has rolled back by itself
		return s.explain(err)
	}
	return nil
}

// one runs a transaction of one statement and says how many rows it changed.
func (s *Store) one(ctx context.Context, text string, args ...any) (int64, error) {
	var n int64
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, text, args...)
		if err != nil {
			return err
		}
		n, err = r.RowsAffected()
		return err
	})
	return n, err
}

// must is one, for a thing that has to be there.
func (s *Store) must(ctx context.Context, what, text string, args ...any) error {
	n, err := s.one(ctx, text, args...)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// rows reads all rows of a query, each with scan.
func rows[T any](ctx context.Context, s *Store, scan func(*sql.Rows) (T, error), text string, args ...any) ([]T, error) {
	found, err := s.reader.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, s.explain(err)
	}
	defer found.Close()
	var all []T
	for found.Next() {
		one, err := scan(found)
		if err != nil {
			return nil, s.explain(err)
		}
		all = append(all, one)
	}
	return all, s.explain(found.Err())
}

// first is rows' first, ErrNotFound without.
func first[T any](all []T, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, ErrNotFound
	}
	return &all[0], nil
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
