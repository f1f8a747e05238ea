package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sightline-edge/sightline/cmd/internal/mutant"
	"github.com/sightline-edge/sightline/updater/bundle"
)

// demoBundle is the name of the demo's bundles, and of the shipped model that
// they are made from.
const demoBundle = "drawn-parts"

// publisher makes the demo's bundles, signs and publishes them, by the commands
// that a person would use: it runs this program.
type publisher struct {
	program, agent string
	dir            string // its keys, its login, its bundles
	depot          string // where the fleet keeps the bundles' archives
	good           string // folder of the bundle that the others are made from
}

func newPublisher(agent, dir string, f *demoFleet) (*publisher, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	p := &publisher{program: self, agent: agent, dir: dir, depot: filepath.Join(f.dir, "updates", "targets"), good: filepath.Join(dir, "good")}
	// The passphrase is as secret as the scratch folder, and ends with it.
	err = os.Mkdir(dir, 0o700)
	if err == nil {
		err = os.WriteFile(p.passphrase(), []byte(rand.Text()+"\n"), 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("make the publisher's folder: %w", err)
	}
	return p, nil
}

func (p *publisher) passphrase() string { return filepath.Join(p.dir, "passphrase") }

// sightline runs a command of this program, logged in to the demo's fleet, and
// gives what it printed.
func (p *publisher) sightline(stdin string, args ...string) ([]byte, error) {
	cmd := exec.Command(p.program)
	cmd.Args = append([]string{"sightline"}, args...)
	cmd.Env = append(os.Environ(), "XDG_CONFIG_HOME="+filepath.Join(p.dir, "config"))
	cmd.Stdin = strings.NewReader(stdin)
	return output(cmd)
}

// keys logs in to the fleet, makes the keys and gives the fleet the root, which
// devices pin when they enrol.
func (p *publisher) keys(f *demoFleet) error {
	if _, err := p.sightline(f.token+"\n", "login", "--fleet", "http://"+f.address, "--token-stdin"); err != nil {
		return err
	}
	_, err := p.sightline("", "keys", "init", "--dir", filepath.Join(p.dir, "keys"), "--passphrase-file", p.passphrase())
	return err
}

// record makes the bundle that the others are made from: the shipped model with
// golden vectors of drawn pictures.
func (p *publisher) record() error {
	if _, err := mutant.Drawn(p.good, mutant.GoldenPictures); err != nil {
		return err
	}
	_, err := p.sightline("", "bundle", "golden", p.good, "--images", filepath.Join(p.good, "golden"), "--agent", p.agent)
	return err
}

// publish packs a folder as that version, signs it and sends it to the fleet.
// It gives the archive's digest, hex.
func (p *publisher) publish(dir, version string) (digest string, err error) {
	if err := mutant.SetVersion(dir, demoBundle, version); err != nil {
		return "", err
	}
	archive := filepath.Join(p.dir, demoBundle+"-"+version+".slb")
	out, err := p.sightline("", "bundle", "pack", dir, "--out", archive, "--json")
	if err != nil {
		return "", err
	}
	var made packed
	if err := json.Unmarshal(out, &made); err != nil {
		return "", fmt.Errorf("pack bundle %s: read what was printed: %w", version, err)
	}
	_, err = p.sightline("", "publish", archive, "--keys", filepath.Join(p.dir, "keys"), "--passphrase-file", p.passphrase())
	return made.Digest, err
}

// begin starts a rollout of a published version and gives its ID.
func (p *publisher) begin(version string) (id string, err error) {
	out, err := p.sightline("", "rollout", "start", demoBundle+"@"+version, "--group", demoGroup, "--waves", "1,all",
		"--probation", demoProbation.String(), "--verdicts", fmt.Sprint(demoVerdicts), "--timeout", demoTimeout.String(), "--json")
	if err != nil {
		return "", err
	}
	var r rolloutAnswer
	if err := json.Unmarshal(out, &r); err != nil {
		return "", fmt.Errorf("begin a rollout: read what was printed: %w", err)
	}
	return r.ID, nil
}

// copy is a folder for a bundle that stays as the good one.
func (p *publisher) copy(to string) error {
	if err := os.CopyFS(to, os.DirFS(p.good)); err != nil {
		return fmt.Errorf("copy a bundle: %w", err)
	}
	return nil
}

// tamper changes one bit of a bundle on the fleet's disk, as whoever broke in
// there could.
func (p *publisher) tamper(digest string) error {
	path := filepath.Join(p.depot, digest+".slb")
	if _, err := mutant.Tamper(path, 1); err != nil {
		return err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("look at what was tampered with: %w", err)
	}
	if sum, _, err := bundle.Digest(bytes.NewReader(b)); err != nil || sum == digest {
		return fmt.Errorf("tamper with %s: it is still what it was: %v", path, err)
	}
	return nil
}
