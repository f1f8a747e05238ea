package rollout

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
)

// proofPrefix is what a device signs before the statement, so that its
// signature can't be one about something else.
const proofPrefix = "sightline proof v1\n"

// recheckEvery is how long after a look for a proof's results the next is.
const recheckEvery = 2 * time.Second

// prove decides about a device whose stations all run the bundle for good.
func (e *Engine) prove(ctx context.Context, l *live, d *device, now time.Time) {
	proof := d.Report.GetProof()
	if proof == nil {
		l.put(d, now, Proving, "no_proof", fmt.Sprintf("it runs the bundle; its proof comes with %d verdicts on each station", l.cond.Verdicts))
		return
	}
	d.recheck = now.Add(recheckEvery)
	s, err := e.statement(l, d)
	if errors.Is(err, ErrLater) {
		l.put(d, now, Proving, "results", tidy(err.Error()))
		return
	}
	if err != nil {
		l.put(d, now, Lying, "bad_proof", tidy(err.Error()))
		return
	}
	d.signed = proof
	waits, err := e.results(ctx, l, d.Device, s)
	switch {
	case err != nil:
		l.put(d, now, Lying, "bad_proof", tidy(err.Error()))
	case waits != "" && d.State == Proven: // it told enough before, and has told more since
	case waits != "":
		l.put(d, now, Proving, "results", waits)
	default:
		if d.Proven.IsZero() {
			d.Proven = now
		}
		if why := cmp.Or(tidy(s.GetGate().GetUnmeasured()), sum(d.Report, l.Digest[:]).unmeasured); why != "" {
			l.put(d, now, Proven, ReasonUnmeasured, why)
			return
		}
		l.put(d, now, Proven, "", "")
	}
}

// statement is what the device's key signed, if it is about this device, this
// rollout and this bundle, and says enough.
func (e *Engine) statement(l *live, d *device) (*wire.Statement, error) {
	proof := d.Report.GetProof()
	s := new(wire.Statement)
	if err := wire.Unmarshal(proof.GetStatement(), s); err != nil {
		return nil, fmt.Errorf("its statement can't be read: %w", err)
	}
	if d.signed != proof { // a certificate may end while results are waited for
		if err := e.signed(d.Device, proof); err != nil {
			return nil, err
		}
	}
	switch {
	case s.GetDevice() != d.Device:
		return nil, fmt.Errorf("its proof is of device %q", s.GetDevice())
	case s.GetRollout() != l.ID:
		return nil, fmt.Errorf("its proof is of rollout %q", s.GetRollout())
	case !bytes.Equal(s.GetNonce(), d.Nonce[:]):
		return nil, fmt.Errorf("its proof is of another command")
	case !bytes.Equal(s.GetDigest(), l.Digest[:]):
		return nil, fmt.Errorf("its proof is of bundle %.12x…", s.GetDigest())
	case len(s.GetBoot()) != 16 || len(s.GetProcess()) != 16:
		return nil, fmt.Errorf("its proof doesn't name the device's boot and the agent's run")
	}
	if err := l.gate(s.GetGate()); err != nil {
		return nil, err
	}
	return s, l.stations(d.Report, s)
}

// signed checks that the device's own key signed the proof.
func (e *Engine) signed(device string, p *wire.Proof) error {
	name, key, err := e.cfg.Verify(p.GetCertificate())
	if err != nil {
		return fmt.Errorf("its proof's certificate: %w", err)
	}
	if name != device {
		return fmt.Errorf("its proof is signed by device %q", name)
	}
	public, ok := key.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return fmt.Errorf("its proof is signed with a key of another kind than P-256")
	}
	sum := sha256.Sum256(append([]byte(proofPrefix), p.GetStatement()...))
	if !ecdsa.VerifyASN1(public, sum[:], p.GetSignature()) {
		return fmt.Errorf("its proof's signature isn't by its key")
	}
	return nil
}

// gate checks what the golden pictures said.
func (l *live) gate(g *wire.Gate) error {
	switch {
	case g.GetPictures() == 0 && !l.Golden && l.cond.WithoutGolden:
		return nil
	case g.GetPictures() == 0:
		return fmt.Errorf("its proof names no golden picture that was run")
	case g.GetPassed() != g.GetPictures():
		return fmt.Errorf("its proof says that %d of %d golden pictures passed", g.GetPassed(), g.GetPictures())
	}
	return nil
}

// stations checks that each station that the device reports told enough.
func (l *live) stations(r *wire.Report, s *wire.Statement) error {
	ran := map[string]bool{}
	for _, st := range s.GetStations() {
		id, seqs := st.GetStation(), st.GetSeq()
		switch {
		case ran[id]:
			return fmt.Errorf("its proof names station %q twice", id)
		case len(seqs) < l.cond.Verdicts || len(seqs) > store.MaxWitnessed:
			return fmt.Errorf("its proof names %d verdicts of station %q, %d to %d are wanted", len(seqs), id, l.cond.Verdicts, store.MaxWitnessed)
		}
		ran[id] = true
		last := st.GetAfter()
		for _, seq := range slices.Sorted(slices.Values(seqs)) {
			if seq <= last {
				return fmt.Errorf("its proof names record %d of station %q twice, or of before the bundle was active", seq, id)
			}
			last = seq
		}
	}
	for _, st := range r.GetStations() {
		if !ran[st.GetStation()] {
			return fmt.Errorf("its proof doesn't name station %q", st.GetStation())
		}
		delete(ran, st.GetStation())
	}
	if len(ran) > 0 {
		return fmt.Errorf("its proof names a station that it doesn't report")
	}
	return nil
}

// results looks whether the fleet has what the statement names, by this
// bundle. waits says what hasn't come; an error that it never will.
func (e *Engine) results(ctx context.Context, l *live, device string, s *wire.Statement) (waits string, err error) {
	digest := hex.EncodeToString(l.Digest[:])
	for _, st := range s.GetStations() {
		w, err := e.cfg.Store.Witness(ctx, device, st.GetEpoch(), st.GetStation(), digest, st.GetSeq())
		switch {
		case err != nil:
			e.cfg.Log.Warn("look for the results of a proof", "rollout", l.ID, "device", device, "err", err)
			waits = "the fleet's store doesn't answer, the log says why"
		case w.Wrong != 0:
			return "", fmt.Errorf("its proof names record %d, which is no result of station %q by this bundle", w.Wrong, st.GetStation())
		case w.Right < len(st.GetSeq()):
			waits = fmt.Sprintf("its proof waits for %d results of station %s that haven't come", len(st.GetSeq())-w.Right, tidy(st.GetStation()))
		case w.Newest != digest:
			waits = fmt.Sprintf("its proof is good, but newer results of station %s are by another bundle", tidy(st.GetStation()))
		}
	}
	return waits, nil
}
