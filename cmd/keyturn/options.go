package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"

	"github.com/keyturn/keyturn/internal/audit"
	"github.com/keyturn/keyturn/internal/server"
)

// options are the flags.
type options struct {
	kubeconfig string
	namespaces []string

	bindAddress     string
	tls             server.TLSOptions
	servingSecret   servingSecret
	trustedProxies  []string
	allowInternal   []string
	metricsAddress  string
	healthAddress   string
	leaderElect     bool
	leaderNamespace string
	election        election

	logLevel, logFormat string
	auditLog            string
}

func command() *cobra.Command {
	var o options
	command := &cobra.Command{
		Use:   "keyturn",
		Short: "The Kubernetes operator for JWT signing keys, verification and revocation",
		Long: `keyturn runs the operator: it rotates the signing keys of TokenIssuers, publishes their public halves, verifies
tokens for gateways and kube-apiserver, and denies what TokenRevocations name.

It finds its API server like kubectl does: --kubeconfig, then $KUBECONFIG, then the pod's own ServiceAccount, then
~/.kube/config.`,
		Example: `  # In a cluster, with a serving certificate that it makes and renews itself:
  keyturn --tls-secret=keyturn-tls --tls-hosts=keyturn-webhook.keyturn-system.svc

  # In a cluster, with the serving certificate mounted:
  keyturn --tls-cert-file=/etc/keyturn/tls/tls.crt --tls-key-file=/etc/keyturn/tls/tls.key

  # On a workstation, with a certificate of its own:
  keyturn --kubeconfig ~/.kube/config --leader-elect=false --tls-self-signed-cert-out /tmp/keyturn.crt`,
		Version:       version,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(command *cobra.Command, _ []string) error {
			return run(command.Context(), &o)
		},
	}
	o.bind(command)
	return command
}

func (o *options) bind(command *cobra.Command) {
	flags := command.Flags()
	flags.SortFlags = false
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "the kubeconfig file of the API server (default: as kubectl finds it)")
	flags.StringSliceVar(&o.namespaces, "namespaces", nil, "the namespaces to act in, separated by commas (default: all)")

	flags.StringVar(&o.bindAddress, "bind-address", server.DefaultBindAddress, "the address of the HTTPS server")
	flags.StringVar(&o.tls.CertFile, "tls-cert-file", "", "the serving certificate in PEM, read again when it changes (default: self-signed)")
	flags.StringVar(&o.tls.KeyFile, "tls-key-file", "", "the private key of the serving certificate in PEM")
	flags.StringSliceVar(&o.tls.Hosts, "tls-hosts", []string{"localhost"},
		"the names and addresses in a serving certificate that the operator makes")
	o.servingSecret.bind(flags)
	flags.StringVar(&o.tls.CertOut, "tls-self-signed-cert-out", "", "where to write a self-signed certificate, for clients to trust")
	flags.StringSliceVar(&o.trustedProxies, "trusted-proxies", nil, "the CIDRs of peers whose X-Forwarded-* headers are believed")
	flags.StringSliceVar(&o.allowInternal, "allow-internal-addresses", nil,
		"the CIDRs of loopback, private and other internal addresses that the keys of external issuers may be fetched from")

	flags.StringVar(&o.metricsAddress, "metrics-bind-address", ":8080", "the address of the Prometheus metrics over plain HTTP; 0 for none")
	flags.StringVar(&o.healthAddress, "health-bind-address", ":8081", "the address of /healthz and /readyz over plain HTTP; 0 for none")
	flags.BoolVar(&o.leaderElect, "leader-elect", true, "elect a leader to run the controllers; every replica verifies")
	flags.StringVar(&o.leaderNamespace, "leader-election-namespace", "", "the namespace of the Leases: the leader's, and one for each replica (default: the pod's own)")
	o.election.bind(flags)

	flags.StringVar(&o.logLevel, "log-level", "info", "debug, info or error")
	flags.StringVar(&o.logFormat, "log-format", "json", "json or console")
	flags.StringVar(&o.auditLog, "audit-log", auditToStdout,
		"where to write the audit log, a line of JSON an event: a file, which is appended to (rotate it with copytruncate), - for stdout, or nothing for none")
}

// resolved is what flags stand for whose values can be wrong.
type resolved struct {
	trustedProxies, allowInternal []netip.Prefix
	auditLog                      *audit.Log
}

// resolve reads and checks such flags, before anything is connected to.
func (o *options) resolve(clk clock.PassiveClock) (resolved, error) {
	var r resolved
	var err error
	if r.trustedProxies, err = prefixes("trusted-proxies", o.trustedProxies); err != nil {
		return r, err
	}
	if r.allowInternal, err = prefixes("allow-internal-addresses", o.allowInternal); err != nil {
		return r, err
	}
	if err := o.election.check(); err != nil {
		return r, err
	}
	if err := o.servingSecret.check(o.tls); err != nil {
		return r, err
	}
	if o.leaderElect && o.leaderNamespace == "" {
		if o.leaderNamespace, err = podNamespace(); err != nil {
			return r, fmt.Errorf("--leader-election-namespace: %w; outside of a cluster set it, or --leader-elect=false", err)
		}
	}
	r.auditLog, err = newAuditLog(o.auditLog, clk)
	return r, err
}

// prefixes reads the values of a flag that takes CIDRs. A single address stands for itself.
func prefixes(flag string, values []string) ([]netip.Prefix, error) {
	var parsed []netip.Prefix
	for _, value := range values {
		value = strings.TrimSpace(value)
		prefix, err := netip.ParsePrefix(value)
		if address, addressErr := netip.ParseAddr(value); err != nil && addressErr == nil {
			prefix, err = address.Prefix(address.BitLen())
		}
		if err == nil && prefix.Addr().Is4In6() {
			return nil, fmt.Errorf("--%s: %q never matches: write it as the IPv4 network that it stands for", flag, value)
		}
		if err != nil {
			return nil, fmt.Errorf("--%s: %q is neither an address nor a CIDR such as 10.0.0.0/8", flag, value)
		}
		parsed = append(parsed, prefix.Masked())
	}
	return parsed, nil
}
