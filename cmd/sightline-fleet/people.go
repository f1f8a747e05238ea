package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/fleet"
	"github.com/sightline-edge/sightline/fleet/enroll"
	"github.com/sightline-edge/sightline/fleet/store"
	"github.com/sightline-edge/sightline/internal/auth"
)

// with opens the fleet's database for one command; a service may use it
// meanwhile.
func with(dir string, do func(*store.Store) error) error {
	st, err := fleet.OpenStore(dir)
	if err != nil {
		return err
	}
	return errors.Join(do(st), st.Close())
}

func newToken(dir *string) *cobra.Command {
	var group string
	var life time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "token --group G",
		Short: "make a one-time token that lets one device in",
		Long: `token prints a token with which one device can enrol, once, while it lasts. It holds
the fingerprint of this fleet's certificate authority, by which the device knows
the fleet.`,
		Example: `  sightline-fleet token --data fleet --group line-a
  sightline-fleet token --data fleet --group line-a --life 15m --json`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cli.Required("group", group, "line-a"); err != nil {
				return err
			}
			life = cmp.Or(life, enroll.DefaultTokenLife)
			return with(*dir, func(st *store.Store) error {
				ca, err := fleet.OpenCA(*dir)
				if err != nil {
					return err
				}
				t, err := enroll.NewService(ca, st, enroll.Config{}).Token(cmd.Context(), group, life)
				if err != nil {
					return err
				}
				if asJSON {
					return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"token": t.String(), "group": group, "expires": st.Now().Add(life).UTC()})
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", t)
				if err == nil {
					_, err = fmt.Fprintf(cmd.ErrOrStderr(), "good once, for %v: sightline-agent enroll --fleet https://%s:8443 --token …\n", life, host(ca.Names()[0]))
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&group, "group", "", "fleet group of the device")
	cmd.Flags().DurationVar(&life, "life", enroll.DefaultTokenLife, "how long it is good, 1 minute to 30 days")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func newRevoke(dir *string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "revoke DEVICE",
		Short: "end a device's access for good",
		Long: `revoke lets the device send no more: its connection is cut within seconds, and its
certificate is neither taken nor renewed any more. To come back it enrols anew.
The reason is printed and kept nowhere; the service's log tells when it cuts.`,
		Example: `  sightline-fleet revoke --data fleet d7k2m9x4qpa --reason stolen`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return cli.Usage("takes one device, as in: sightline-fleet revoke d7k2m9x4qpa")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(*dir, func(st *store.Store) error {
				err := st.Revoke(cmd.Context(), args[0], st.Now())
				if errors.Is(err, store.ErrNotFound) {
					return fmt.Errorf("there is no device %q: the overview page and sightline devices show their ids", args[0])
				} else if err != nil {
					return err
				}
				because := ""
				if reason != "" {
					because = ": " + reason
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "device %s is revoked%s\n", args[0], because)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for whoever reads the output")
	return cmd
}

func newUser(dir *string) *cobra.Command {
	user := &cobra.Command{
		Use:   "user",
		Short: "who may log in",
		Example: `  sightline-fleet user add anna --role operator --data fleet
  sightline-fleet user token anna --data fleet
  sightline-fleet user list --data fleet`,
	}
	user.AddCommand(newUserAdd(dir), newUserPassword(dir), newUserRemove(dir), newUserList(dir))
	user.AddCommand(newUserToken(dir), newUserTokens(dir), newUserTokenRemove(dir))
	return user
}

// known says what to do about a person whom the fleet doesn't know.
func known(name string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("there is no user %q: sightline-fleet user list names them", name)
	}
	return err
}

// named refuses all but one name as argument.
func named(example string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 || args[0] == "" {
			return cli.Usage("takes one name, as in: %s", example)
		}
		return nil
	}
}

func newUserAdd(dir *string) *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use: "add NAME --role viewer|operator|admin", Short: "add a person; the password is generated and shown once",
		Args: named("sightline-fleet user add anna --role operator"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := auth.ParseRole(role)
			if err != nil {
				return cli.Usage("--role: %v", err)
			}
			return with(*dir, func(st *store.Store) error {
				password, err := fleet.AddUser(cmd.Context(), st, args[0], r)
				switch {
				case errors.Is(err, fleet.ErrName):
					return cli.Usage("%v", err)
				case errors.Is(err, store.ErrExists):
					return fmt.Errorf("there is a user %q already: sightline-fleet user password gives them a new password", args[0])
				case err != nil:
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "user:      %s (%s)\npassword:  %s   (shown only now)\n", args[0], r, password)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&role, "role", "viewer", "what the person may do: viewer, operator or admin")
	return cmd
}

func newUserPassword(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "password NAME", Short: "give a person a new generated password, shown once",
		Long: "password gives a person a new generated password and ends what the old one let in: logins on the pages, and all the person's API tokens.",
		Args: named("sightline-fleet user password anna"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(*dir, func(st *store.Store) error {
				password := auth.NewPassword()
				hash, err := auth.Hash(cmd.Context(), password)
				if err == nil {
					err = st.SetPassword(cmd.Context(), args[0], hash)
				}
				if err != nil {
					return known(args[0], err)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "password:  %s   (shown only now)\n", password)
				return err
			})
		},
	}
}

func newUserRemove(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Short: "take a person's access away, tokens and sessions too",
		Args: named("sightline-fleet user remove anna"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return with(*dir, func(st *store.Store) error {
				return known(args[0], st.RemoveUser(cmd.Context(), args[0]))
			})
		},
	}
}

func newUserList(dir *string) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "who may log in", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return with(*dir, func(st *store.Store) error { return listUsers(cmd.Context(), cmd, st) })
		},
	}
}

func listUsers(ctx context.Context, cmd *cobra.Command, st *store.Store) error {
	users, err := st.Users(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tROLE\tSINCE")
	for _, u := range users {
		fmt.Fprintf(w, "%s\t%s\t%s\n", u.Name, u.Role, u.Created.Format(time.DateOnly))
	}
	return w.Flush()
}
