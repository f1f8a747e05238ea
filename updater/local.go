package updater

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/mirror"
	"github.com/sightline-edge/sightline/updater/transfer"
)

// localRollout is the rollout of commands that a person gave with a folder.
const localRollout = "local"

// Local installs from a folder, as on a USB stick, that holds a repository:
// its metadata/ and targets/. It is checked as what the fleet sends is. Of
// each bundle that a station follows the newest version there is taken; gate,
// policy and probation follow as ever. It returns when all is verified and on
// this disk.
func (u *Updater) Local(ctx context.Context, folder string) error {
	if u.cfg.Mirror == nil {
		return fmt.Errorf("update from %s: %w", folder, mirror.ErrNoRoot)
	}
	var faults []error
	seen := map[string]bool{}
	n := 0
	for _, s := range u.stations {
		if seen[s.Bundle] {
			continue
		}
		seen[s.Bundle] = true
		file, version := newest(filepath.Join(folder, "targets", "bundles", s.Bundle))
		if file == "" {
			continue
		}
		n++
		if err := u.localOne(ctx, folder, s.Bundle, version, file); err != nil {
			faults = append(faults, fmt.Errorf("update %s to %s from %s: %w", s.Bundle, version, folder, err))
		}
	}
	if n == 0 {
		return fmt.Errorf("update from %s: it has no bundle that a station here follows; they are looked for in targets/bundles/NAME", folder)
	}
	return errors.Join(faults...)
}

func (u *Updater) localOne(ctx context.Context, folder, name, version, file string) error {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	c := &command{
		Act: install, Rollout: localRollout, Nonce: hex.EncodeToString(nonce[:]), Local: true,
		Bundle: name, Version: version, Target: bundle.TargetPath(name, version), At: time.Now(),
	}
	t, err := u.signed(ctx, mirror.Folder(filepath.Join(folder, "metadata")), c)
	if err != nil {
		return err
	}
	c.Digest = hex.EncodeToString(t.SHA256[:])
	defer u.pin(c.Digest)()
	if u.verify(c.Digest) != nil {
		if err := u.room(unpackedFactor * t.Length); err != nil {
			return err
		}
		if err := u.unpack(ctx, file, t.Length, c); err != nil {
			return err
		}
	}
	return u.assign(c)
}

// unpackedFactor is how much room an unpacked bundle takes, at most, of its
// archive's: models hardly shrink.
const unpackedFactor = 2

// room says whether the disk has so many bytes: it is also where verdicts go,
// which must not find it full.
func (u *Updater) room(need int64) error {
	free, err := transfer.Free(u.cfg.Dir)
	if err == nil && need > free {
		return &transfer.NoRoom{Need: need, Have: free}
	}
	return err
}

// newest is the file of the newest version in a folder of bundles, which may
// carry the hash before its name, as repositories with consistent snapshots
// have it; "" without any.
func newest(dir string) (file, version string) {
	entries, _ := os.ReadDir(dir) // none there
	for _, e := range entries {
		v, ok := strings.CutSuffix(e.Name(), ".slb")
		if hash, rest, has := strings.Cut(v, "."); has && isDigest(hash) {
			v = rest
		}
		if ok && !e.IsDir() && (file == "" || compareVersions(v, version) > 0) {
			file, version = filepath.Join(dir, e.Name()), v
		}
	}
	return file, version
}

// compareVersions compares piece by piece, numbers as numbers; 1.2.0-rc1 comes
// before 1.2.0.
func compareVersions(a, b string) int {
	a, preA, hasA := strings.Cut(a, "-")
	b, preB, hasB := strings.Cut(b, "-")
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		x, y := "0", "0"
		if i < len(as) {
			x = as[i]
		}
		if i < len(bs) {
			y = bs[i]
		}
		n, errN := strconv.ParseUint(x, 10, 64)
		m, errM := strconv.ParseUint(y, 10, 64)
		c := cmp.Compare(x, y)
		if errN == nil && errM == nil {
			c = cmp.Compare(n, m)
		}
		if c != 0 {
			return c
		}
	}
	switch {
	case hasA && !hasB:
		return -1
	case hasB && !hasA:
		return 1
	}
	return cmp.Compare(preA, preB)
}
