package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/internal/whole"
	"github.com/sightline-edge/sightline/updater/publish"
	"github.com/sightline-edge/sightline/updater/trust"
)

func newKeysRotate(o *keysOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate root-1|root-2|root-3|targets|online",
		Short: "put a new key in the place of one that was lost or stolen",
		Long: `rotate makes a new key and the next root, which names it and no longer the old
one. Two of the root keys must sign it: two of those before, and two of those
after. Those in the folder are asked for; where that isn't enough, the root is
written to a file for the next person, who runs sightline keys sign.

online changes both keys of the fleet (snapshot and timestamp), which the fleet
makes itself. Devices then also forget version numbers that a thief signed.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || args[0] != "online" && args[0] != targetsName && !slices.Contains(rootNames, args[0]) {
				return cli.Usage("which key: root-1, root-2, root-3, targets or online?")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.prompt = newPrompt(cmd)
			return o.rotate(cmd.Context(), args[0])
		},
	}
	cmd.Flags().StringVar(&o.online, "online", "", "file with the fleet's new public keys, in place of asking the fleet")
	cmd.Flags().StringVar(&o.out, "out", "", "file for a root that others must sign too")
	cmd.Flags().StringVar(&o.old, "old", "", "ID of the old root key, where its file isn't here")
	return cmd
}

func newKeysRenew(o *keysOptions) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "renew",
		Short: "sign a root with the same keys and a new date",
		Args:  cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.prompt = newPrompt(cmd)
			return o.rotate(cmd.Context(), "")
		},
	}
	cmd.Flags().StringVar(&o.out, "out", "", "file for a root that others must sign too")
	return cmd
}

func newKeysSign(o *keysOptions) *cobra.Command {
	return &cobra.Command{
		Use:   "sign FILE",
		Short: "add your signature to a root that somebody else began",
		Long: `sign shows what the root in the file changes, signs it with the root keys in the
folder, and sends it to the fleet when enough have signed. A root that changes more
than keys for keys, such as how many must sign, is refused. The folder also needs
the root that is valid now, as 1.root.json, unless the fleet is asked.`,
		Args: bundleArg("FILE", "sightline keys sign 2.root.json"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.prompt = newPrompt(cmd)
			return o.sign(cmd.Context(), args[0])
		},
	}
}

// rotate makes the next root; name is "" where only its date changes.
func (o *keysOptions) rotate(ctx context.Context, name string) error {
	d := o.keys()
	r, err := o.repository()
	if err != nil {
		return err
	}
	root, err := d.follow(ctx, r)
	if err != nil {
		return err
	}
	changes, err := o.changes(ctx, d, r, name, root)
	if err != nil {
		return err
	}
	next, err := publish.NextRoot(root, time.Now().Add(publish.RootLife), changes...)
	if err != nil {
		return err
	}
	return o.complete(ctx, d, r, root, next, o.out)
}

func (o *keysOptions) changes(ctx context.Context, d *keyDir, r repository, name string, root []byte) ([]publish.Change, error) {
	switch name {
	case "":
		return nil, nil
	case "online":
		roles, err := publish.RolesOf(root)
		if err != nil {
			return nil, err
		}
		k, err := o.onlineKeys(ctx, r, true)
		if err != nil {
			return nil, err
		}
		return []publish.Change{
			{Role: "snapshot", Old: publish.ID(roles.Online.Snapshot), New: k.Snapshot},
			{Role: "timestamp", Old: publish.ID(roles.Online.Timestamp), New: k.Timestamp},
		}, nil
	}
	old, err := d.oldKey(name, o.old, root)
	if err != nil {
		return nil, err
	}
	role, _, _ := strings.Cut(name, "-")
	// A rotation that was cut has left its key.
	if next, err := publish.ReadKeyFile(d.file(name + nextSuffix)); err == nil {
		return []publish.Change{{Role: role, Old: old, New: next.Public}}, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	k, err := o.makeKey(ctx, d, name, nextSuffix)
	if err != nil {
		return nil, err
	}
	return []publish.Change{{Role: role, Old: old, New: k.Public()}}, nil
}

// complete signs the next root and, if enough have signed, makes it the valid
// one. Else it goes to a file for the next person.
func (o *keysOptions) complete(ctx context.Context, d *keyDir, r repository, root, next []byte, out string) error {
	signed, left, err := d.sign(ctx, root, next)
	if err != nil {
		return err
	}
	v, err := publish.VersionOf(signed)
	if err != nil {
		return err
	}
	if left != "" {
		if out == "" {
			out = fmt.Sprintf("%d.root.json.unfinished", v)
		}
		if err := whole.Write(out, signed, 0o644); err != nil {
			return err
		}
		if o.json {
			return asJSON(o.prompt.out, struct {
				Root       int64  `json:"root"`
				Unfinished string `json:"unfinished"`
			}{v, out})
		}
		fmt.Fprintf(o.prompt.out, "root %d: %s; have their holder run: sightline keys sign %s\n", v, left, out)
		return nil
	}
	if err := publish.CheckRoot(root, signed); err != nil {
		return err
	}
	targets, err := o.resign(ctx, d, r, root, signed)
	if err != nil {
		return err
	}
	if r != nil {
		if err := r.putRoot(ctx, signed); err != nil {
			return err
		}
	}
	if err := d.keepRoot(signed); err != nil {
		return err
	}
	if targets != nil {
		if err := o.keepTargets(ctx, d, r, targets); err != nil {
			return fmt.Errorf("%w; the root is valid, and the targets must be signed anew: run sightline publish renew", err)
		}
	}
	return o.tell(signed, r)
}

// renewLater is said where the new targets key isn't used at once.
const renewLater = "whoever holds the new targets key must now run: sightline publish renew"

// resign signs the targets with the key that the next root gives the role, if
// it gives it a new one and that key is here; nil if not.
func (o *keysOptions) resign(ctx context.Context, d *keyDir, r repository, root, next []byte) ([]byte, error) {
	a, err := publish.RolesOf(root)
	if err != nil {
		return nil, err
	}
	b, err := publish.RolesOf(next)
	if err != nil {
		return nil, err
	}
	if publish.ID(a.Targets) == publish.ID(b.Targets) {
		return nil, nil
	}
	file := d.file(targetsName + nextSuffix)
	k, err := publish.ReadKeyFile(file)
	if errors.Is(err, fs.ErrNotExist) || err == nil && k.ID != publish.ID(b.Targets) {
		fmt.Fprintln(o.prompt.err, renewLater)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	now, err := currentTargets(ctx, d, r, root)
	if err != nil {
		return nil, err
	}
	key, err := d.pass.open(ctx, file)
	if errors.Is(err, errSkipped) {
		fmt.Fprintln(o.prompt.err, renewLater)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return publish.RenewTargets(now, next, time.Now().Add(publish.TargetsLife), key)
}

// keepTargets publishes targets and notes them in the folder.
func (o *keysOptions) keepTargets(ctx context.Context, d *keyDir, r repository, targets []byte) error {
	if r != nil {
		if err := r.putTargets(ctx, targets); err != nil {
			return err
		}
	}
	return whole.Write(d.file(targetsRecord), targets, 0o644)
}

// sign adds the signatures of this folder's keys to the root in a file.
func (o *keysOptions) sign(ctx context.Context, file string) error {
	d := o.keys()
	next, err := readSmall(file, trust.MaxRoot)
	if err != nil {
		return fmt.Errorf("sign the root: %w", err)
	}
	v, err := publish.VersionOf(next)
	if err != nil {
		return fmt.Errorf("sign %s: %w", file, err)
	}
	r, err := o.repository()
	if err != nil {
		return err
	}
	if v == 1 { // an upload of init that was cut
		if r == nil {
			return cli.Usage("root 1 is signed; without --no-upload it is sent to the fleet")
		}
		targets, err := os.ReadFile(d.file(targetsRecord))
		if err != nil {
			return fmt.Errorf("send the root: %w", err)
		}
		if err := upload(ctx, r, next, targets); err != nil {
			return err
		}
		return o.tell(next, r)
	}
	root, err := d.follow(ctx, r)
	if err != nil {
		return err
	}
	has, err := publish.VersionOf(root)
	if err != nil {
		return fmt.Errorf("sign %s: %w", file, err)
	}
	if has+1 != v {
		return fmt.Errorf("sign %s: it is root %d, and root %d is valid now: begin anew from that one, with sightline keys rotate or renew", file, v, has)
	}
	if err := publish.CheckRules(root, next); err != nil {
		return fmt.Errorf("sign %s: %w: don't sign it, and ask whoever sent it what it is for", file, err)
	}
	if err := o.tellChanges(root, next); err != nil {
		return err
	}
	return o.complete(ctx, d, r, root, next, file)
}

// tellChanges shows what a person is about to sign.
func (o *keysOptions) tellChanges(root, next []byte) error {
	a, err := publish.RolesOf(root)
	if err != nil {
		return err
	}
	b, err := publish.RolesOf(next)
	if err != nil {
		return err
	}
	out := o.prompt.out
	if o.json {
		out = o.prompt.err
	}
	for _, k := range []struct {
		role     string
		old, new []*publish.PublicKey
	}{
		{"root", a.Root, b.Root}, {"targets", []*publish.PublicKey{a.Targets}, []*publish.PublicKey{b.Targets}},
		{"snapshot", []*publish.PublicKey{a.Online.Snapshot}, []*publish.PublicKey{b.Online.Snapshot}},
		{"timestamp", []*publish.PublicKey{a.Online.Timestamp}, []*publish.PublicKey{b.Online.Timestamp}},
	} {
		for _, gone := range without(k.old, k.new) {
			fmt.Fprintf(out, "%s: the key %.16s… goes\n", k.role, gone)
		}
		for _, come := range without(k.new, k.old) {
			fmt.Fprintf(out, "%s: the key %.16s… comes\n", k.role, come)
		}
	}
	return nil
}

func without(a, b []*publish.PublicKey) []string {
	var left []string
	for _, k := range a {
		if !slices.ContainsFunc(b, func(o *publish.PublicKey) bool { return publish.ID(o) == publish.ID(k) }) {
			left = append(left, publish.ID(k))
		}
	}
	return left
}
