package fleet

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"log/slog"
	"testing"
	"testing/fstest"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/sightline-edge/sightline/internal/health"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/publish"
)

// served is a fleet with its own broker that runs until the test ends.
func served(t *testing.T) *Fleet {
	t.Helper()
	dir := t.TempDir()
	if _, _, err := Init(t.Context(), dir, []string{"127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	f, err := Open(Config{Dir: dir, HTTPS: "127.0.0.1:0", MQTT: "127.0.0.1:0", Version: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return f
}

// enrolled lets a device in and connects it to the broker.
func enrolled(t *testing.T, f *Fleet) (mqtt.Client, *wire.EnrollAnswer) {
	t.Helper()
	token, err := f.enroll.Token(t.Context(), "g", 0)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	a, err := f.enroll.Enroll(t.Context(), wire.EnrollRequest{
		Token: token.String(), CSR: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})),
	})
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := pem.Decode([]byte(a.Certificate))
	ca := x509.NewCertPool()
	ca.AppendCertsFromPEM([]byte(a.CA))
	o := mqtt.NewClientOptions().AddBroker("ssl://" + f.MQTTAddr()).SetClientID(a.Device).SetCleanSession(true).SetAutoReconnect(false)
	o.SetTLSConfig(&tls.Config{RootCAs: ca, Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Bytes}, PrivateKey: key}}})
	client := mqtt.NewClient(o)
	done(t, client.Connect())
	t.Cleanup(func() { client.Disconnect(10) })
	return client, a
}

func done(t *testing.T, token mqtt.Token) {
	t.Helper()
	if !token.WaitTimeout(20*time.Second) || token.Error() != nil {
		t.Fatal("the broker: ", token.Error())
	}
}

// published gives the fleet a root and a bundle with a model of so many bytes.
func published(t *testing.T, f *Fleet, size int) (raw []byte, digest string) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	keys := map[string]*publish.Key{}
	for _, name := range []string{"root a", "root b", "targets"} {
		k, err := publish.NewKey()
		check(err)
		keys[name] = k
	}
	root, err := publish.NewRoot(publish.Roles{
		Root: []*publish.PublicKey{keys["root a"].Public(), keys["root b"].Public()}, Targets: keys["targets"].Public(), Online: f.depot.Keys(),
	}, time.Now().Add(endsSoon-time.Hour), keys["root a"], keys["root b"])
	check(err)
	check(f.depot.PutRoot(root))
	model := make([]byte, size)
	_, _ = rand.Read(model) // it never fails
	manifest := fmt.Sprintf("manifest: 1\nname: caps\nversion: 1.2.0\nlicence: Apache-2.0\nmodel:\n  file: model.onnx\n  sha256: %x\n  family: yolov8\n"+
		"  labels: [{name: part, role: part}]\n", sha256.Sum256(model))
	var b bytes.Buffer
	digest, err = bundle.Pack(fstest.MapFS{bundle.ManifestFile: {Data: []byte(manifest)}, "model.onnx": {Data: model}}, &b)
	check(err)
	put, err := f.depot.PutBundle(t.Context(), digest, int64(b.Len()), bytes.NewReader(b.Bytes()))
	check(err)
	sum, err := hex.DecodeString(digest)
	check(err)
	pieces, err := hex.DecodeString(put.Pieces)
	check(err)
	targets, err := publish.AddTarget(nil, root, put.Target, put.Size, [32]byte(sum), [32]byte(pieces), time.Now().AddDate(1, 0, 0), keys["targets"])
	check(err)
	check(f.depot.PutTargets(targets))
	return b.Bytes(), digest
}

// TestBundleOverTheBroker: a device that is let in fetches a bundle in pieces,
// through the broker inside, four of them under way at a time.
func TestBundleOverTheBroker(t *testing.T) {
	f := served(t)
	raw, digest := published(t, f, 8<<20)
	device, a := enrolled(t, f)
	if !bytes.Equal(a.Root, f.depot.Root()) {
		t.Error("the device is told another root")
	}
	eventually(t, "the ingester", func() bool { return f.ingest.Stats().Connected })
	blocks := make(chan *wire.Block, 100)
	done(t, device.Subscribe(wire.Topic(a.Device, wire.Down, wire.KindBlock), 0, func(_ mqtt.Client, m mqtt.Message) {
		b := new(wire.Block)
		if err := wire.Unmarshal(m.Payload(), b); err != nil {
			t.Error(err)
		}
		blocks <- b
	}))
	sum, err := hex.DecodeString(digest)
	if err != nil {
		t.Fatal(err)
	}
	const piece, window = 64 << 10, 4
	got, count, asked := make([]byte, len(raw)), (len(raw)+piece-1)/piece, 0
	ask := func() {
		if asked == count {
			return
		}
		body, err := wire.Marshal(&wire.Get{Tid: 1, File: &wire.Get_Target{Target: sum}, Piece: piece, First: uint32(asked), Wanted: []byte{1}})
		if err != nil {
			t.Fatal(err)
		}
		asked++
		done(t, device.Publish(wire.Topic(a.Device, wire.Up, wire.KindGet), 0, false, body))
	}
	began := time.Now()
	for range window {
		ask()
	}
	for range count {
		select {
		case b := <-blocks:
			if b.GetFault() != 0 {
				t.Fatal(b)
			}
			copy(got[int(b.GetIndex())*piece:], b.GetData())
			ask()
		case <-time.After(20 * time.Second):
			t.Fatal("a block is missing")
		}
	}
	t.Logf("%.0f MB/s", float64(len(raw))/1e6/time.Since(began).Seconds())
	if !bytes.Equal(raw, got) {
		t.Error("the bundle is another")
	}
	eventually(t, "the warning", func() bool {
		for _, w := range f.health.List() {
			if w.Code == health.UpdatesEnding.Code && w.Subject == "root" {
				return true
			}
		}
		return false
	})
}

// eventually waits for the thing itself.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s didn't come", what)
		}
	}
}
