package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/sync/wire"
)

// MaxWitnessed is how many records a Witness is asked about at most.
const MaxWitnessed = 64

// Witness is what the store knows of records that a device says are a
// station's results by a bundle.
type Witness struct {
	Right  int    // are that
	Wrong  uint64 // one of them that is something else, or was passed over for good; 0 without
	Newest string // bundle (SHA-256, hex) of the station's newest result, "" without one; only if all are Right
}

// Witness looks for records of a device's epoch, at most MaxWitnessed, which are
// said to be results of a station, or of one of its recipes (wire.Unit). Those
// that are neither Right nor Wrong haven't come yet.
func (s *Store) Witness(ctx context.Context, device string, epoch uint64, station, bundle string, seqs []uint64) (Witness, error) {
	w, err := s.witness(ctx, device, epoch, station, bundle, seqs)
	if err != nil {
		return Witness{}, fmt.Errorf("look for results of device %s: %w", device, s.explain(err))
	}
	return w, nil
}

func (s *Store) witness(ctx context.Context, device string, epoch uint64, station, bundle string, seqs []uint64) (w Witness, err error) {
	if len(seqs) == 0 || len(seqs) > MaxWitnessed {
		return w, fmt.Errorf("%d records, 1 to %d can be looked for", len(seqs), MaxWitnessed)
	}
	var key, watermark int64 // read first: what is up to the watermark has come before the rows are read
	err = s.reader.QueryRowContext(ctx, `SELECT e.key, e.watermark FROM epoch e JOIN device d ON d.key = e.device WHERE d.id = ? AND e.epoch = ?`,
		device, int64(epoch)).Scan(&key, &watermark)
	if errors.Is(err, sql.ErrNoRows) {
		return w, nil
	} else if err != nil {
		return w, err
	}
	right, there, err := s.by(ctx, key, station, bundle, seqs)
	if err != nil {
		return w, err
	}
	for _, seq := range seqs {
		switch {
		case right[seq]:
			w.Right++
		case there[seq] || seq <= uint64(watermark):
			w.Wrong = seq
		}
	}
	if w.Right < len(seqs) { // a lie may make the next query long
		return w, nil
	}
	w.Newest, err = s.newest(ctx, key, station, slices.Max(seqs), bundle)
	return w, err
}

// maxPassed is how many records of other stations are passed over on the way to
// a station's newest.
const maxPassed = 50_000

// newest is by which bundle the station's newest result is, of those behind the
// record last, which is by the bundle given.
func (s *Store) newest(ctx context.Context, epoch int64, station string, last uint64, bundle string) (string, error) {
	var body []byte
	name, recipe := wire.SplitUnit(station)
	err := s.reader.QueryRowContext(ctx, `SELECT body FROM result WHERE epoch = ?1 AND seq > max(?2, (SELECT max(seq) FROM result WHERE epoch = ?1) - ?3)
		AND +station = ?4 AND (?5 = '' OR +recipe = ?5) ORDER BY seq DESC LIMIT 1`, epoch, int64(last), maxPassed, name, recipe).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return bundle, nil
	} else if err != nil {
		return "", err
	}
	r, err := wire.Decode(body)
	return r.GetResult().GetBundleDigest(), err
}

// by are the records that are there, and of them those that are the station's
// results by the bundle.
func (s *Store) by(ctx context.Context, epoch int64, station, bundle string, seqs []uint64) (right, there map[uint64]bool, err error) {
	name, recipe := wire.SplitUnit(station)
	args := []any{epoch}
	for _, seq := range seqs {
		args = append(args, int64(seq))
	}
	right, there = map[uint64]bool{}, map[uint64]bool{}
	_, err = rows(ctx, s, func(from *sql.Rows) (none struct{}, err error) {
		var seq int64
		var of string
		var body sql.RawBytes
		if err := from.Scan(&seq, &of, &body); err != nil {
			return none, err
		}
		r, err := wire.Decode(body)
		if err != nil {
			return none, fmt.Errorf("record %d: %w", seq, err)
		}
		there[uint64(seq)] = true
		right[uint64(seq)] = of == name && (recipe == "" || r.GetResult().GetRecipe() == recipe) && r.GetResult().GetBundleDigest() == bundle
		return none, nil
	}, `SELECT seq, station, body FROM result WHERE epoch = ? AND seq IN (?`+strings.Repeat(", ?", len(seqs)-1)+`)`, args...)
	return right, there, err
}

// Present are the devices of a group, or with "" all, by ID: who they are and
// whether they are there. Nothing else of them is read.
func (s *Store) Present(ctx context.Context, group string) ([]Device, error) {
	all, err := rows(ctx, s, func(from *sql.Rows) (d Device, err error) {
		var enrolled, revoked, connected, ended, heard, every int64
		err = from.Scan(&d.ID, &d.Group, &d.Label, &enrolled, &revoked, &connected, &ended, &heard, &every)
		d.Enrolled, d.Revoked, d.Connected, d.Ended = wire.Time(enrolled), wire.Time(revoked), wire.Time(connected), wire.Time(ended)
		d.Heard, d.Every = wire.Time(heard), time.Duration(every)
		return d, err
	}, `SELECT id, grp, label, enrolled, revoked, connected, ended, heard, every FROM device WHERE ?1 = '' OR grp = ?1 ORDER BY id`, group)
	if err != nil {
		return nil, fmt.Errorf("devices that are there: %w", err)
	}
	return all, nil
}
