package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/agent/config"
	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/updater/mirror"
	"github.com/sightline-edge/sightline/updater/trust"
)

// maxRootFile bounds what is read as a root, bytes.
const maxRootFile = trust.MaxRoot

// metadataDir is where a data directory keeps the metadata of updates.
func metadataDir(data string) string { return filepath.Join(data, "updates", "metadata") }

// pinned is the root that a device trusts.
type pinned struct {
	Root        int64  `json:"root"` // version
	Fingerprint string `json:"fingerprint"`
	Dir         string `json:"dir"` // where it is kept
}

func newPin() *cobra.Command {
	var file, data string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "pin ROOT.json",
		Short: "trust a root of updates on this device",
		Long: `pin makes this device trust bundles that are signed below a root. A device does
so by itself when it enrols; pin is for one that was enrolled before its fleet
had keys, or that is in no fleet and is updated from a USB stick. Compare the
fingerprint with the one that sightline keys show prints where the keys are kept.

The device follows the root's successors by itself. Another root than the one it
trusts is refused: whoever may change that owns the device. To give it to other
owners, remove the folder updates in its data directory first.`,
		Example: `  sightline-agent pin root.json --config station.yaml
  sightline-agent pin 1.root.json --data /var/lib/sightline`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usage("give the file of one root, as in: sightline-agent pin root.json")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := dataDir(data, file)
			if err != nil {
				return err
			}
			root, err := readRoot(args[0])
			if err != nil {
				return err
			}
			p, err := pin(dir, root)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(p)
			}
			return p.print(cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "config", "", "configuration whose data directory is meant")
	f.StringVar(&data, "data", "", "data directory of the agent; overrides the configuration")
	f.BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// dataDir is the data directory that is meant.
func dataDir(data, file string) (string, error) {
	if data != "" {
		return data, nil
	}
	if file == "" {
		return config.Default().Data, nil
	}
	cfg, err := config.Load(file)
	if err != nil {
		return "", err
	}
	return cfg.Data, nil
}

func readRoot(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the root: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxRootFile+1))
	if err != nil {
		return nil, fmt.Errorf("read the root: %w", err)
	}
	if len(b) > maxRootFile {
		return nil, fmt.Errorf("read the root %s: it has more than %d bytes: it is no root", path, maxRootFile)
	}
	return b, nil
}

// pin makes the root the one that the device trusts, if it trusts none yet. It
// says which one it was given.
func pin(data string, root []byte) (pinned, error) {
	dir := metadataDir(data)
	about, err := trust.Inspect(root)
	if err != nil {
		return pinned{}, fmt.Errorf("pin the root: %w", err)
	}
	p := pinned{about.Version, about.Fingerprint, dir}
	err = mirror.Pin(dir, root)
	if !errors.Is(err, mirror.ErrPinned) {
		return p, err
	}
	m, opened := mirror.Open(dir)
	if opened != nil {
		return p, err
	}
	version, fingerprint, opened := m.Root()
	if opened != nil {
		return p, err
	}
	return p, fmt.Errorf("%w: this device trusts root %d (%s); if that is an earlier one of the same owners, it follows by itself; if its owners are others now, remove %s first",
		err, version, fingerprint, filepath.Dir(dir))
}

func (p pinned) print(w io.Writer) error {
	_, err := fmt.Fprintf(w, "this device trusts bundles signed below root %d\nits fingerprint is %s\n", p.Root, p.Fingerprint)
	return err
}
