package rollout

import (
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/vision"
)

var (
	oldDigest = sha256.Sum256([]byte("the bundle before"))
	newDigest = sha256.Sum256([]byte("caps 1.2.0"))
)

// plant is a fleet of simulated agents over a real store: they get commands,
// answer by reports, sign with real keys and send real results.
type plant struct {
	testing.TB
	store  *store.Store
	engine *Engine
	ca     *x509.Certificate
	key    *ecdsa.PrivateKey
	skew   time.Duration // of the fleet's clock before the store's
	golden bool
	late   error // of verify, while it can't tell

	mu      sync.Mutex // protects what follows
	agents  map[string]*agent
	mailbox map[string][]*wire.Command
	sent    int
}

// agent is one simulated device with one station, st1.
type agent struct {
	*plant
	id     string
	key    *ecdsa.PrivateKey
	cert   []byte
	seq    uint64
	after  uint64 // when what runs was activated
	active [32]byte
	// answer says what it does with a command; nil for what a good agent does.
	answer func(a *agent, c *wire.Command)
	last   *wire.Report
}

func newPlant(t testing.TB) *plant {
	t.Helper()
	st, err := store.Open(filepath.Join(t.TempDir(), "fleet.db"))
	if err != nil {
		t.Fatal(err)
	}
	p := &plant{TB: t, store: st, golden: true, agents: map[string]*agent{}, mailbox: map[string][]*wire.Command{}}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	p.key = newKey(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fleet"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: st.Now().Add(-time.Hour), NotAfter: st.Now().Add(1000 * time.Hour)}
	p.ca = p.sign(template, p.key.Public(), template)
	p.restart()
	return p
}

// restart is a new engine on the same store.
func (p *plant) restart() {
	p.engine = New(Config{Store: p.store, Lookup: p.lookup, Send: p.send, Verify: p.verify, Now: p.now})
}

func (p *plant) now() time.Time { return p.store.Now().Add(p.skew) }

func (p *plant) lookup(name, version string) (Target, error) {
	if name != "caps" {
		return Target{}, fmt.Errorf("%w: %s", ErrUnknown, name)
	}
	return Target{Version: cmp.Or(version, "1.2.0"), Digest: newDigest, Path: "bundles/caps/1.2.0.slb", Golden: p.golden}, nil
}

func (p *plant) send(device string, c *wire.Command) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mailbox[device] = append(p.mailbox[device], proto.Clone(c).(*wire.Command))
	p.sent++
	return true
}

// verify is as the fleet's: chain, dates, known, not revoked.
func (p *plant) verify(der []byte) (string, crypto.PublicKey, error) {
	if p.late != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrLater, p.late)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return "", nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(p.ca)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: p.store.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return "", nil, err
	}
	d, err := p.store.Device(context.Background(), cert.Subject.CommonName)
	if err == nil && !d.Revoked.IsZero() {
		err = errors.New("revoked")
	}
	return cert.Subject.CommonName, cert.PublicKey, err
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (p *plant) sign(template *x509.Certificate, public crypto.PublicKey, parent *x509.Certificate) *x509.Certificate {
	p.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, p.key)
	p.must(err)
	cert, err := x509.ParseCertificate(der)
	p.must(err)
	return cert
}

func (p *plant) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

// add enrols n agents that are connected.
func (p *plant) add(n int) (all []*agent) {
	p.Helper()
	for i := range n {
		a := &agent{plant: p, id: fmt.Sprintf("dev-%03d", len(p.agents)+1), key: newKey(p), active: oldDigest}
		cert := p.sign(&x509.Certificate{SerialNumber: big.NewInt(int64(i + 2)), Subject: pkix.Name{CommonName: a.id},
			NotBefore: p.ca.NotBefore, NotAfter: p.ca.NotAfter}, a.key.Public(), p.ca)
		a.cert = cert.Raw
		var token [32]byte
		_, _ = rand.Read(token[:])
		p.must(p.store.AddEnrolToken(p.Context(), store.EnrolToken{Key: token, Group: "line1", Expires: p.store.Now().Add(time.Hour)}))
		p.must(p.store.AddDevice(p.Context(), store.Device{ID: a.id}, token))
		p.agents[a.id] = a
		all = append(all, a)
	}
	p.online(all...)
	return all
}

func (p *plant) online(all ...*agent) {
	p.Helper()
	var signs []store.Sign
	for _, a := range all {
		signs = append(signs, store.Sign{Device: a.id, At: p.now(), Hello: &wire.Hello{Connection: 7, Epoch: 1}},
			store.Sign{Device: a.id, At: p.now(), State: &wire.State{Connection: 7, EveryMs: 3600e3}})
	}
	p.must(p.store.Heard(p.Context(), signs))
}

func (p *plant) offline(all ...*agent) {
	p.Helper()
	var signs []store.Sign
	for _, a := range all {
		signs = append(signs, store.Sign{Device: a.id, At: p.now(), Life: &wire.Life{Connection: 7}})
	}
	p.must(p.store.Heard(p.Context(), signs))
}

// step is one look of the engine, after which all agents work on what came.
func (p *plant) step() {
	p.Helper()
	p.must(p.engine.Step(p.Context()))
	p.mu.Lock()
	box := p.mailbox
	p.mailbox = map[string][]*wire.Command{}
	p.mu.Unlock()
	var all sync.WaitGroup
	for id, commands := range box {
		all.Go(func() {
			for _, c := range commands {
				p.agents[id].do(c)
			}
		})
	}
	all.Wait()
	p.must(p.engine.Step(p.Context()))
}

// pass lets time go by, seen by the engine second by second where it counts.
func (p *plant) pass(d time.Duration) {
	p.Helper()
	for end := p.skew + d; p.skew < end; {
		p.skew += min(5*tickEvery, end-p.skew)
		p.must(p.engine.Step(p.Context()))
	}
}

func (p *plant) start(change ...func(*Spec)) string {
	p.Helper()
	s := Spec{Bundle: "caps", Group: "line1", Conditions: Conditions{Verdicts: 3}}
	for _, c := range change {
		c(&s)
	}
	id, err := p.engine.Start(p.Context(), s, "ann")
	p.must(err)
	return id
}

func (p *plant) get(id string) *View {
	p.Helper()
	v, err := p.engine.Get(p.Context(), id)
	p.must(err)
	return v
}

// states are how many devices are in each state.
func (v *View) states() map[string]int {
	m := map[string]int{}
	for _, d := range v.Devices {
		m[d.State]++
	}
	return m
}

func (v *View) device(t testing.TB, id string) DeviceView {
	t.Helper()
	for _, d := range v.Devices {
		if d.Device == id {
			return d
		}
	}
	t.Fatalf("device %s isn't in the rollout", id)
	return DeviceView{}
}

// do is what an agent does with a command.
func (a *agent) do(c *wire.Command) {
	switch {
	case a.last != nil && string(a.last.GetNonce()) == string(c.GetNonce()):
		a.report(a.last) // told again: nothing is done twice
	case a.answer != nil:
		a.answer(a, c)
	default:
		a.good(c)
	}
}

// good installs what is commanded, tells verdicts by it, and proves it.
func (a *agent) good(c *wire.Command) {
	switch c.GetAct() {
	case wire.Command_ACT_ROLLBACK:
		a.active = oldDigest
		a.say(c, wire.Phase_PHASE_ROLLED_BACK, "commanded")
	case wire.Command_ACT_CANCEL:
		a.say(c, wire.Phase_PHASE_CANCELLED, "")
	default:
		a.active, a.after = [32]byte(c.GetDigest()), a.seq
		s := a.statement(c, a.inspect(int(c.GetVerdicts())))
		r := a.say(c, wire.Phase_PHASE_COMMITTED, "")
		r.Proof = a.proof(s)
		a.report(r)
	}
}

// say reports a phase of the only station.
func (a *agent) say(c *wire.Command, phase wire.Phase, reason string) *wire.Report {
	r := &wire.Report{Rollout: c.GetRollout(), Nonce: c.GetNonce(), Digest: c.GetDigest(), Bundle: c.GetBundle(), Stations: []*wire.StationUpdate{{
		Station: "st1", Phase: phase, Reason: reason, Active: a.active[:],
	}}}
	a.report(r)
	return r
}

func (a *agent) report(r *wire.Report) {
	a.last = r
	a.engine.Heard(a.id, proto.Clone(r).(*wire.Report))
}

// inspect sends n results by what runs, and gives their numbers.
func (a *agent) inspect(n int) (seqs []uint64) {
	b := &wire.Batch{Epoch: 1}
	for range n {
		a.seq++
		p := vision.Part{ID: fmt.Sprint(a.seq), Label: "cap"}
		r := wire.NewResult(&p, &vision.Decision{Verdict: vision.Pass, Reason: "ok"}, time.Now())
		r.Station, r.BundleDigest = "st1", hex.EncodeToString(a.active[:])
		body, err := wire.EncodeResult(r)
		a.check(err)
		b.Items = append(b.Items, wire.Item{First: a.seq, Last: a.seq, Body: body})
		seqs = append(seqs, a.seq)
	}
	_, err := a.store.Ingest(context.Background(), []store.Batch{{Device: a.id, Batch: b}})
	a.check(err)
	return seqs
}

func (a *agent) check(err error) {
	if err != nil {
		a.Error(err)
	}
}

func (a *agent) statement(c *wire.Command, seqs []uint64) *wire.Statement {
	return &wire.Statement{
		Device: a.id, Rollout: c.GetRollout(), Nonce: c.GetNonce(), Digest: c.GetDigest(), Boot: make([]byte, 16), Process: make([]byte, 16),
		Stations: []*wire.Ran{{Station: "st1", Epoch: 1, After: a.after, Seq: seqs}},
		Gate:     &wire.Gate{Pictures: 12, Passed: 12, Provider: "cpu"}, At: time.Now().UnixNano(),
	}
}

func (a *agent) proof(s *wire.Statement) *wire.Proof {
	body, err := wire.Marshal(s)
	a.check(err)
	sum := sha256.Sum256(append([]byte(proofPrefix), body...))
	signature, err := ecdsa.SignASN1(rand.Reader, a.key, sum[:])
	a.check(err)
	return &wire.Proof{Statement: body, Signature: signature, Certificate: a.cert}
}
