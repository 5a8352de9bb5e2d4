package main

import (
	"errors"
	"fmt"

	"github.com/go-logr/logr"
	"github.com/spf13/pflag"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/keyturn/keyturn/internal/server"
	"github.com/keyturn/keyturn/internal/servingcert"
)

// servingSecret is where the serving certificate is kept that the operator makes itself.
type servingSecret struct {
	namespace, name string
}

func (s *servingSecret) bind(flags *pflag.FlagSet) {
	flags.StringVar(&s.name, "tls-secret", "",
		"the Secret in which the operator keeps a serving certificate of its own for --tls-hosts, the same for every "+
			"replica (default: none)")
	flags.StringVar(&s.namespace, "tls-secret-namespace", "", "the namespace of that Secret (default: the pod's own)")
}

// check reads the namespace and refuses what does not go together.
func (s *servingSecret) check(files server.TLSOptions) error {
	switch {
	case s.name == "":
		return nil
	case files.CertFile != "" || files.KeyFile != "":
		return errors.New("--tls-secret: --tls-cert-file and --tls-key-file say where another certificate is: set either " +
			"the Secret or the files")
	}
	if _, err := servingcert.ParseHosts(files.Hosts); err != nil {
		return fmt.Errorf("--tls-hosts: %w", err)
	}
	if s.namespace != "" {
		return nil
	}
	var err error
	if s.namespace, err = podNamespace(); err != nil {
		return fmt.Errorf("--tls-secret: %w; outside of a cluster set --tls-secret-namespace", err)
	}
	return nil
}

// source returns what keeps the certificate; nil if it comes from elsewhere. It has a connection of its own, so that
// its watches do not count as those that verification depends on.
func (s *servingSecret) source(
	config *rest.Config, hosts []string, clk clock.Clock, log logr.Logger,
) (server.CertificateSource, error) {
	if s.name == "" {
		return nil, nil
	}
	parsed, err := servingcert.ParseHosts(hosts)
	if err != nil {
		return nil, fmt.Errorf("--tls-hosts: %w", err)
	}
	client, err := corev1client.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("the connection to the API server for the serving certificate: %w", err)
	}
	return servingcert.New(servingcert.Options{
		Client: client, Namespace: s.namespace, Name: s.name, Hosts: parsed, Clock: clk, Logger: log.WithName("servingcert"),
	}), nil
}
