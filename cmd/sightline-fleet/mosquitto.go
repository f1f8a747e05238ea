package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/fleet"
	"github.com/sightline-edge/sightline/fleet/broker"
	"github.com/sightline-edge/sightline/fleet/enroll"
	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/whole"
)

// brokerLife is how long the certificate lasts that Mosquitto is given: it reads
// it from a file, so a person has to renew it.
const brokerLife = 397 * 24 * time.Hour

func newMosquitto(dir *string) *cobra.Command {
	var out, listen string
	var force bool
	cmd := &cobra.Command{
		Use:   "mosquitto --out DIR",
		Short: "write the configuration for a Mosquitto broker of this fleet",
		Long: `mosquitto writes mosquitto.conf, the access list, and a certificate with its key from
this fleet's authority, for a Mosquitto (2.0 or newer) that then keeps the same
rules as the broker inside: certificates alone, a device's own topics alone. A
revoked device isn't cut there, but the fleet takes nothing of it any more. The
certificate lasts 397 days; run this again before it ends.`,
		Example: `  sightline-fleet mosquitto --data fleet --out /etc/mosquitto/sightline
  mosquitto -c /etc/mosquitto/sightline/mosquitto.conf
  sightline-fleet serve --data fleet --broker mqtt.example:8883`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cli.Required("out", out, "/etc/mosquitto/sightline"); err != nil {
				return err
			}
			full, err := filepath.Abs(out)
			if err != nil {
				return err
			}
			files, err := mosquittoFiles(*dir, full, listen)
			if err != nil {
				return err
			}
			if err := ours(filepath.Join(full, broker.MosquittoConf)); err != nil && !force {
				return err
			}
			if err := os.MkdirAll(full, 0o755); err != nil {
				return err
			}
			for _, name := range slices.Sorted(maps.Keys(files)) {
				mode := os.FileMode(0o644)
				if filepath.Ext(name) == ".key" {
					mode = 0o600
				}
				if err := whole.Write(filepath.Join(full, name), files[name], mode); err != nil {
					return err
				}
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "wrote %d files to %s\nthe user that Mosquitto runs as must be able to read broker.key\n", len(files), full)
			return err
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace a mosquitto.conf that somebody else wrote")
	cmd.Flags().StringVar(&out, "out", "", "folder to write to")
	cmd.Flags().StringVar(&listen, "listen", ":8883", "address at which Mosquitto listens")
	return cmd
}

// ours refuses a configuration that this program hasn't written.
func ours(path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && bytes.Contains(text, []byte("Written by sightline-fleet")) {
		return nil
	}
	if err == nil {
		err = errors.New("it isn't by this command: choose another --out, or replace it with --force")
	}
	return fmt.Errorf("replace %s: %w", path, err)
}

func mosquittoFiles(dir, out, listen string) (map[string][]byte, error) {
	ca, err := fleet.OpenCA(dir)
	if err != nil {
		return nil, err
	}
	files, err := broker.Mosquitto(broker.MosquittoConfig{Dir: out, Listen: listen, Services: []string{fleet.Service}})
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if err := with(dir, func(st *store.Store) error { now = st.Now(); return nil }); err != nil {
		return nil, err
	}
	files["ca.pem"] = ca.PEM()
	return files, addLeaf(files, ca, now)
}

func addLeaf(files map[string][]byte, ca *enroll.CA, now time.Time) error {
	leaf, err := ca.Leaf(now, brokerLife)
	if err != nil {
		return err
	}
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		return fmt.Errorf("encode the broker's key: %w", err)
	}
	var chain []byte
	for _, der := range leaf.Certificate {
		chain = slices.Concat(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	files["broker.pem"] = chain
	files["broker.key"] = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	return nil
}
