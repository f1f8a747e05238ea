package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sightline-edge/sightline/cmd/internal/cli"
	"github.com/sightline-edge/sightline/fleet"
	"github.com/sightline-edge/sightline/systemd"
)

func newInit(dir *string) *cobra.Command {
	var names []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "init --name NAME",
		Short: "make a fleet: certificate authority, database, first administrator",
		Long: `init makes the data directory with the fleet's certificate authority, its database
and the first administrator, whose password is shown once and kept nowhere.
Names are the DNS names and IP addresses by which devices and people reach this
machine; they stand in its certificate. They can be changed later in ca/names.

ca/ca.key is the one secret that matters: whoever has it can be any device.`,
		Example: `  sightline-fleet init --data fleet --name fleet.example --name 10.0.0.5`,
		Args:    cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(names) == 0 {
				return cli.Usage("--name is missing, as in: --name fleet.example --name 10.0.0.5")
			}
			ca, password, err := fleet.Init(cmd.Context(), *dir, names)
			if err != nil {
				return err
			}
			fingerprint := ca.Fingerprint()
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{
					"user": fleet.FirstUser, "password": password, "fingerprint": hex.EncodeToString(fingerprint[:]), "names": ca.Names(),
				})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), `a fleet is in %[1]s, for %[2]s
user:         %[3]s
password:     %[4]s   (shown only now)
fingerprint:  %[5]s   (SHA-256 of its certificate authority, %[6]s)

next: sightline-fleet serve --data %[1]s
      sightline-fleet token --data %[1]s --group line-a
      sightline login --fleet https://%[7]s:8443 --fingerprint %[5]s
`, *dir, strings.Join(ca.Names(), ", "), fleet.FirstUser, password, hex.EncodeToString(fingerprint[:]),
				filepath.Join(*dir, fleet.CAFolder, "ca.pem"), host(names[0]))
			return err
		},
	}
	cmd.Flags().StringArrayVar(&names, "name", nil, "DNS name or IP address of this machine; may repeat")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object, with the password")
	return cmd
}

// host is a name as it stands in an address.
func host(name string) string {
	if strings.Contains(name, ":") {
		return "[" + name + "]"
	}
	return name
}

func newServe(dir *string) *cobra.Command {
	cfg := fleet.Config{Version: version}
	var verbose bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "serve the fleet until SIGTERM or Ctrl-C",
		Long: `serve takes what devices send and answers on pages and REST. Devices need its
HTTPS port (enrolment, renewal) and its MQTT port; people need HTTPS. With
--broker another MQTT broker is used instead of the one inside
(sightline-fleet mosquitto writes its configuration); its host must be one of the
fleet's names, or this machine.

Standard error is the log: logins, enrolments, revocations, clients that were
refused, and trouble.`,
		Example: `  sightline-fleet serve --data fleet
  sightline-fleet serve --data fleet --https :8443 --mqtt :8883 --http 127.0.0.1:8082
  sightline-fleet serve --data fleet --broker mqtt.example:8883`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkServe(&cfg); err != nil {
				return err
			}
			cfg.Dir, cfg.Log = *dir, logger(cmd.ErrOrStderr(), verbose)
			f, err := fleet.Open(cfg)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "open https://%s\n", f.Addr())
			if addr := f.HTTPAddr(); addr != "" {
				fmt.Fprintf(out, "open http://%s (from this machine alone)\n", addr)
			}
			if addr := f.MQTTAddr(); addr != "" {
				fmt.Fprintf(out, "devices send to %s\n", addr)
			}
			return served(cmd.Context(), f, cfg.Log)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.HTTPS, "https", ":8443", "address of pages, REST and enrolment")
	f.StringVar(&cfg.HTTP, "http", "", "the same without TLS, on a loopback address: for a browser here, or a proxy")
	f.StringVar(&cfg.MQTT, "mqtt", ":8883", "address of the MQTT broker inside")
	f.StringVar(&cfg.MQTTPublic, "mqtt-public", "", "where devices reach the broker, if that is another address; an empty host is the one they enrolled at")
	f.StringVar(&cfg.Broker, "broker", "", "host:port of another MQTT broker, instead of the one inside")
	f.BoolVarP(&verbose, "verbose", "v", false, "log what the broker says, too")
	return cmd
}

func checkServe(cfg *fleet.Config) error {
	for _, a := range []struct {
		flag, value string
		listens     bool // at the address, so that port 0 is any
	}{
		{"https", cfg.HTTPS, true}, {"http", cfg.HTTP, true}, {"mqtt", cfg.MQTT, true}, {"mqtt-public", cfg.MQTTPublic, false}, {"broker", cfg.Broker, false},
	} {
		if a.value == "" && a.flag != "https" && a.flag != "mqtt" {
			continue
		}
		host, port, err := net.SplitHostPort(a.value)
		if err != nil {
			return cli.Usage("--%s %q: must be an address and a port, as 10.0.0.5:8883", a.flag, a.value)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 && !a.listens {
			return cli.Usage("--%s %q: the port is a number from 1 to 65535", a.flag, a.value)
		}
		if host == "" && a.flag == "broker" {
			return cli.Usage("--broker %q: the broker's host is missing, as in: --broker mqtt.example:8883", a.value)
		}
	}
	return nil
}

// served runs the fleet and tells the service manager.
func served(ctx context.Context, f *fleet.Fleet, log *slog.Logger) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var g errgroup.Group
	g.Go(func() error {
		warn := func(err error) {
			if err != nil {
				log.Warn("service manager", "err", err)
			}
		}
		warn(systemd.Ready())
		warn(systemd.Watchdog(ctx, func() bool { return f.Alive(ctx) }))
		<-ctx.Done()
		warn(systemd.Stopping())
		return nil
	})
	g.Go(func() error {
		defer stop()
		return f.Run(ctx)
	})
	return g.Wait()
}

func logger(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}
