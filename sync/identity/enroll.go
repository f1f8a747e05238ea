package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sightline-edge/sightline/internal/whole"
	"github.com/sightline-edge/sightline/sync/wire"
)

// Config says how to enrol.
type Config struct {
	Dir          string // the device's data directory, made if need be
	Fleet        string // https://host[:port]
	Token        string // one-time, from the fleet
	StationLabel string // for people; may be empty
	Hostname     string // for people; may be empty

	step whole.Steps
}

// unfinished is where the identity is made. Its key stays there when an answer
// is lost, because the fleet answers the same key again.
const unfinished = FolderName + ".new"

// Enroll makes the device's key, has the fleet that made the token sign it,
// and keeps both in the data directory. If it fails, or is cut short, the
// device isn't enrolled; the same call may be made again, also where the fleet
// had already taken the token and only its answer was lost.
//
// Errors: ErrEnrolled, ErrWrongFleet, ErrRefused with the fleet's reason,
// ErrBusy, wire.ErrToken. None holds the token.
func Enroll(ctx context.Context, c Config) (*Identity, error) {
	id, err := enroll(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("enrol this device: %w", err)
	}
	return id, nil
}

func enroll(ctx context.Context, c Config) (*Identity, error) {
	fleet, err := fleetURL(c.Fleet)
	if err != nil {
		return nil, err
	}
	token, err := wire.ParseToken(c.Token)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Dir, 0o750); err != nil {
		return nil, err
	}
	last := filepath.Join(c.Dir, FolderName)
	if err := free(c.Dir); err != nil {
		return nil, err
	}
	work := folder{path: filepath.Join(c.Dir, unfinished), step: c.step}
	if err := os.Mkdir(work.path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	lock, busy := work.lock()
	if busy == nil {
		defer lock.Close()
	}
	if err := free(c.Dir); err != nil { // another process may just have done it
		return nil, err
	}
	// The key must be found again after a power cut that costs the answer.
	if err := errors.Join(busy, whole.SyncDir(c.Dir)); err != nil {
		return nil, err
	}
	key, err := work.key()
	if err != nil {
		return nil, err
	}
	ask := wire.EnrollRequest{Token: token.String(), StationLabel: c.StationLabel, Hostname: c.Hostname}
	if ask.CSR, err = request(key); err != nil {
		return nil, err
	}
	var ca *x509.Certificate
	conf := pinned(fleet.Hostname(), func(certs []*x509.Certificate) error {
		found, err := findCA(token, certs)
		if err == nil {
			err = checkServer(found, certs, fleet.Hostname())
		}
		ca = found
		return err
	})
	answer, err := exchange(ctx, conf, fleet.JoinPath(wire.EnrollPath).String(), ask)
	if err != nil && fleet.Port() == "" && !errors.Is(err, ErrRefused) {
		return nil, fmt.Errorf("at %s: %w; port 443 was tried, a fleet answers at 8443 where it wasn't told otherwise: https://%s:8443", fleet, err, fleet.Host)
	}
	if err != nil {
		return nil, fmt.Errorf("at %s: %w", fleet, err)
	}
	a, cert, err := accept(answer, key, ca, fleet.String())
	if err != nil {
		return nil, err
	}
	err = work.write(caFile, encodeCertificate(ca), 0o644)
	if err == nil {
		err = work.writeRoot(answer.Root)
	}
	if err == nil {
		err = work.save(a, cert)
	}
	if err == nil {
		err = work.step.Rename(work.path, last)
	}
	if err != nil {
		return nil, err
	}
	return Open(c.Dir)
}

// free reports whether the device can be enrolled.
func free(dir string) error {
	path := filepath.Join(dir, FolderName)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	as := "though its identity can't be read"
	if id, err := Open(dir); err == nil {
		as = fmt.Sprintf("as %s at %s", id.Device(), id.Fleet())
	}
	return fmt.Errorf("%w, %s: to start anew, revoke it at the fleet and remove the folder %s", ErrEnrolled, as, path)
}

// key is the one of an earlier try, or a new one, on disk.
func (f folder) key() (*ecdsa.PrivateKey, error) {
	if text, err := f.readSecret(deviceFile); err == nil {
		if key, _, err := parseKey(text); err == nil {
			return key, nil
		}
	} // a key that can't be used was never certified: another takes its place
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	text, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return key, f.write(deviceFile, text, 0o600)
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the device's key: %w", err)
	}
	return key, nil
}

// writeRoot keeps the root of trust for updates. One that an earlier try was
// told goes where now there is none.
func (f folder) writeRoot(root []byte) error {
	if len(root) > 0 {
		return f.write(rootFile, root, 0o644)
	}
	if err := os.Remove(filepath.Join(f.path, rootFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// save writes what a renewal changes. The certificate comes first: an older
// Issued beside it only makes the next renewal come earlier.
func (f folder) save(a about, cert tls.Certificate) error {
	pair, err := encodeKey(cert.PrivateKey)
	if err != nil {
		return err
	}
	if err := f.write(deviceFile, append(pair, encodeCertificate(cert.Leaf)...), 0o600); err != nil {
		return err
	}
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	return f.write(aboutFile, append(text, '\n'), 0o644)
}
