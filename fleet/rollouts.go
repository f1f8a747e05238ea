package fleet

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/fleet/rollout"
	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

// lookTime bounds a look into the store that has no context of its own.
const lookTime = 5 * time.Second

// openRollouts opens what brings bundles to devices.
func (f *Fleet) openRollouts() {
	f.rollouts = rollout.New(rollout.Config{
		Store: f.store, Lookup: f.lookup, Send: f.command, Verify: f.verify, Log: f.cfg.Log,
		Changed: func(id string) { f.api.RolloutChanged(id) },
	})
}

// reported passes on how a device is with a bundle. It doesn't wait.
func (f *Fleet) reported(device string, body []byte) {
	r := new(wire.Report)
	if err := wire.Unmarshal(body, r); err != nil {
		f.cfg.Log.Debug("a device's report can't be read", "device", device, "err", err) // it may send them without end
		return
	}
	f.rollouts.Heard(device, r)
}

// command gives a device a command, false where that can't be now.
func (f *Fleet) command(device string, c *wire.Command) bool {
	body, err := wire.Marshal(c)
	if err != nil {
		f.cfg.Log.Error("a command can't be written", "device", device, "err", err)
		return false
	}
	return f.ingest.Send(device, wire.KindCmd, body)
}

// verify tells which device's certificate that is, if it may prove anything
// now, and its key.
func (f *Fleet) verify(certificate []byte) (device string, key crypto.PublicKey, err error) {
	cert, err := x509.ParseCertificate(certificate)
	if err != nil {
		return "", nil, fmt.Errorf("read a certificate: %w", err)
	}
	device, service, err := f.ca.Verify([]*x509.Certificate{cert}, f.store.Now())
	if err != nil {
		return "", nil, err
	}
	if service {
		return "", nil, errors.New("it is a service's, not a device's")
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookTime)
	defer cancel()
	d, err := f.store.Device(ctx, device)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return "", nil, err
	case err != nil:
		return "", nil, fmt.Errorf("%w: %w", rollout.ErrLater, err)
	case !d.Revoked.IsZero():
		return "", nil, fmt.Errorf("device %s was revoked", device)
	}
	return device, cert.PublicKey, nil
}

// lookup finds a bundle that devices can be given now; without a version the
// one that was put last.
func (f *Fleet) lookup(name, version string) (rollout.Target, error) {
	all, err := f.depot.List()
	if err != nil {
		return rollout.Target{}, err
	}
	there := false
	for _, b := range all { // the last put first
		if b.Name != name || version != "" && b.Version != version {
			continue
		}
		there = true
		if !b.Published {
			continue
		}
		t := rollout.Target{Version: b.Version, Path: b.Target, Golden: b.Golden}
		if n, err := hex.Decode(t.Digest[:], []byte(b.Digest)); err != nil || n != len(t.Digest) {
			return t, fmt.Errorf("bundle %s %s: its digest is %q", name, b.Version, b.Digest)
		}
		return t, nil
	}
	if there {
		return rollout.Target{}, fmt.Errorf("%w: %s is here and not signed for devices: sightline publish does that", rollout.ErrUnknown, strings.TrimSpace(name+" "+version))
	}
	return rollout.Target{}, fmt.Errorf("%w: %s; sightline publish brings it here", rollout.ErrUnknown, strings.TrimSpace(name+" "+version))
}
