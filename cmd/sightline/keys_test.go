package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sightline-edge/sightline/fleet/api"
	"github.com/sightline-edge/sightline/fleet/depot"
	"github.com/sightline-edge/sightline/fleet/enroll"
	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/publish"
)

// The ceremonies of docs/how-updates-work.md, played through with the commands
// that stand there.
func TestKeyScripts(t *testing.T) {
	archives := map[string][]byte{}
	for _, version := range []string{"1.0.0", "1.1.0", "6.6.6"} {
		archives["caps-"+version+".slb"] = packedBundle(t, "caps", version, "")
	}
	archives["caps-1.0.0-other.slb"] = packedBundle(t, "caps", "1.0.0", "other")
	fleet, ca := updateFleet(t)
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/keys",
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"forge": forge, "bend": bend},
		Setup: func(e *testscript.Env) error {
			if filepath.Base(e.WorkDir) != "script-init" { // which looks at the encryption
				e.Setenv("SIGHTLINE_TEST_PLAIN_KEYS", "1")
			}
			for name, v := range map[string]string{
				"GOCOVERDIR": os.Getenv("GOCOVERDIR"), "XDG_CONFIG_HOME": filepath.Join(e.WorkDir, "config"), "HOME": e.WorkDir, "FLEET": fleet,
			} {
				e.Setenv(name, v)
			}
			files := map[string][]byte{"pass": []byte("four words nobody says\n"), "short": []byte("short\n"), "ca.pem": ca, "password": []byte(fleetPassword + "\n")}
			for name, data := range archives {
				files[name] = data
			}
			for name, data := range files {
				if err := os.WriteFile(filepath.Join(e.WorkDir, name), data, 0o600); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

func packedBundle(t *testing.T, name, version, content string) []byte {
	t.Helper()
	model := []byte("a model " + version + content)
	var b bytes.Buffer
	_, err := bundle.Pack(fstest.MapFS{"model.onnx": {Data: model}, bundle.ManifestFile: {Data: fmt.Appendf(nil, `manifest: 1
name: %s
version: %s
licence: Apache-2.0
model:
  file: model.onnx
  sha256: %x
  family: yolov8
  labels: [{name: part, role: part}, {name: scratch, role: defect}]
`, name, version, sha256.Sum256(model))}}, &b)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// forge does what a thief with the timestamp key does: forge KEYFILE METADATA
// VERSION signs the timestamp of a repository anew, with another version.
func forge(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: forge keyfile metadata version")
	}
	var key struct{ Private string }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &key))
	seed, err := hex.DecodeString(key.Private)
	ts.Check(err)
	signer, err := signature.LoadED25519Signer(ed25519.NewKeyFromSeed(seed))
	ts.Check(err)
	file := ts.MkAbs(filepath.Join(args[1], "timestamp.json"))
	m, err := metadata.Timestamp().FromFile(file)
	ts.Check(err)
	m.Signed.Version, err = strconv.ParseInt(args[2], 10, 64)
	ts.Check(err)
	m.ClearSignatures()
	_, err = m.Sign(signer)
	ts.Check(err)
	ts.Check(m.ToFile(file, false))
}

// bend does what somebody does who wants a signature under more than they tell:
// bend ROOT adds a second targets key to a root that was begun.
func bend(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: bend root")
	}
	m, err := metadata.Root().FromFile(ts.MkAbs(args[0]))
	ts.Check(err)
	k, err := publish.NewKey()
	ts.Check(err)
	ts.Check(m.Signed.AddKey(k.Public(), "targets"))
	m.ClearSignatures()
	ts.Check(m.ToFile(ts.MkAbs(args[0]), false))
}

// updateFleet is a real fleet with a depot, and an administrator named anna.
func updateFleet(t *testing.T) (url string, ca []byte) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir, log := t.TempDir(), slog.New(slog.NewTextHandler(io.Discard, nil))
	s, err := store.Open(filepath.Join(dir, "fleet.db"))
	must(err)
	t.Cleanup(func() { must(s.Close()) })
	authority, err := enroll.Init(filepath.Join(dir, "ca"), []string{"127.0.0.1"})
	must(err)
	d, err := depot.Open(filepath.Join(dir, depot.FolderName), time.Now, log)
	must(err)
	t.Cleanup(func() { must(d.Close()) })
	server, err := api.New(api.Config{Store: s, Enroll: enroll.NewService(authority, s, enroll.Config{}), Depot: d, Log: log})
	must(err)
	config, err := authority.Server(s.Now())
	must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx, tls.NewListener(l, config)) }()
	t.Cleanup(func() {
		cancel()
		must(<-ended)
	})
	hash, err := auth.Hash(t.Context(), fleetPassword)
	must(err)
	must(s.AddUser(t.Context(), store.User{Name: "anna", Role: auth.Admin, Hash: hash}))
	return "https://" + l.Addr().String(), authority.PEM()
}
