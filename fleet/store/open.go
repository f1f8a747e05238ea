package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/pressly/goose/v3"
	"golang.org/x/sys/unix"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/sightline-edge/sightline/internal/whole"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	application = 0x534c464c // "SLFL", in the file's header
	readers     = 4
	leastRoom   = 1 << 20 // bytes; with less, a failed write is a full disk
)

// Open opens the database, made if there is none, and brings it to this
// program's version. Other programs may have it open too, such as one that
// adds a user. Its folder is made readable for its owner alone.
func Open(path string) (*Store, error) {
	s := &Store{path: path}
	if err := s.open(context.Background()); err != nil { // a migration is not to be cut short
		for _, db := range []*sql.DB{s.reader, s.writer} {
			if db != nil {
				_ = db.Close() // the first error counts
			}
		}
		return nil, fmt.Errorf("open the fleet's database %s: %w", path, s.explain(err))
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	path, err := filepath.Abs(s.path)
	if err != nil {
		return err
	}
	if err := makeFile(path); err != nil {
		return err
	}
	// As Debian's SQLite does: the data and the size are what a commit is about.
	if _, err := sqlite.Fdatasync(true); err != nil && !errors.Is(err, sqlite.ErrFdatasyncUnavailable) {
		return err
	}
	if s.writer, err = database(path, 1, "journal_mode(wal)", "synchronous(full)", "foreign_keys(1)",
		"cache_size(-32000)", "wal_autocheckpoint(4000)", "journal_size_limit(67108864)"); err != nil {
		return err
	}
	if s.reader, err = database(path, readers, "query_only(1)", "cache_size(-8000)"); err != nil {
		return err
	}
	if err := alone(path+".lock", func() error { return s.migrate(ctx) }); err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	var newest int64
	err = s.writer.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = ?`, newestTime).Scan(&newest)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	s.startClock(newest)
	return nil
}

// alone does what only one program may do at a time.
func alone(lock string, do func() error) error {
	f, err := os.OpenFile(lock, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err = unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		err = fmt.Errorf("lock %s: %w", lock, err)
	} else {
		err = do()
	}
	return errors.Join(err, f.Close())
}

// makeFile makes the folder and an empty file, on disk and for its owner's
// eyes alone. SQLite gives its other files the same permissions.
func makeFile(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return err
	}
	return errors.Join(f.Close(), whole.SyncDir(dir))
}

func database(path string, connections int, pragmas ...string) (*sql.DB, error) {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": append(pragmas, "busy_timeout(10000)")}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// migrate refuses what isn't ours or too new, and applies what is missing.
func (s *Store) migrate(ctx context.Context) error {
	var id, others int64
	err := s.writer.QueryRowContext(ctx, `SELECT application_id,
		(SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE 'sqlite%' AND tbl_name <> 'goose_db_version')
		FROM pragma_application_id`).Scan(&id, &others)
	if err != nil {
		return err
	}
	if id != application && (id != 0 || others != 0) {
		return errors.New("it is another program's: name another file")
	}
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	steps, err := goose.NewProvider(goose.DialectSQLite3, s.writer, dir, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	has, knows, err := steps.GetVersions(ctx)
	if err != nil {
		return err
	}
	if has > knows {
		return fmt.Errorf("it has version %d, this program knows up to %d: %w", has, knows, ErrNewer)
	}
	if has < knows {
		_, err = steps.Up(ctx)
	}
	return err
}

// explain makes SQLite's errors the store's own, with what to do.
func (s *Store) explain(err error) error {
	var e *sqlite.Error
	switch {
	case errors.Is(err, ErrFull) || errors.Is(err, ErrDamaged):
		return err
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: %w", ErrFull, err)
	case !errors.As(err, &e):
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("%w: %w", ErrFull, err)
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
		if room(filepath.Dir(s.path)) < leastRoom {
			return fmt.Errorf("%w: %w", ErrFull, err)
		}
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("%w: %w; stop the fleet, move %s with its -wal and -shm files away, "+
			"and put the newest backup there: devices send again what they still have", ErrDamaged, err, s.path)
	}
	return err
}

// room is how many bytes are left on the folder's disk.
func room(dir string) uint64 {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return leastRoom
	}
	return st.Bavail * uint64(st.Bsize)
}

// taken reports whether the error is that a row with this key is there.
func taken(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY || e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE)
}
