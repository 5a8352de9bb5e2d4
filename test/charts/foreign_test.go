package charts

import (
	"fmt"
	"slices"
	"strings"
)

// foreign is the spec of a kind that the API server of the test does not know, with the fields that the chart may
// write.
type foreign interface {
	apiVersion() string
	// problems says what is missing or wrong. Empty: nothing.
	problems() string
}

var foreignKinds = map[string]func() foreign{
	"Certificate":      func() foreign { return new(certificateSpec) },
	"HTTPRoute":        func() foreign { return new(httpRouteSpec) },
	"BackendTLSPolicy": func() foreign { return new(backendTLSPolicySpec) },
	"ServiceMonitor":   func() foreign { return new(serviceMonitorSpec) },
	"PrometheusRule":   func() foreign { return new(prometheusRuleSpec) },
}

type certificateSpec struct {
	SecretName            string
	IssuerRef             struct{ Name, Kind, Group string }
	Duration, RenewBefore string
	DNSNames, IPAddresses []string
	Usages                []string
	PrivateKey            struct {
		Algorithm, RotationPolicy string
		Size                      int
	}
}

func (*certificateSpec) apiVersion() string { return "cert-manager.io/v1" }

func (c *certificateSpec) problems() string {
	switch {
	case c.SecretName == "" || c.IssuerRef.Name == "" || c.IssuerRef.Kind == "" || c.IssuerRef.Group == "":
		return fmt.Sprintf("it is incomplete: %+v", c)
	case !slices.Contains(c.DNSNames, "keyturn-webhook.keyturn-system.svc"),
		!slices.Contains(c.DNSNames, "tokens.shop.example"):
		return fmt.Sprintf("the names are %v, want the Service's and those of tls.hosts", c.DNSNames)
	case !slices.Equal(c.IPAddresses, []string{"192.0.2.7", "2001:db8::7"}):
		return fmt.Sprintf("the addresses are %v, want those of tls.hosts", c.IPAddresses)
	}
	return ""
}

type httpRouteSpec struct {
	ParentRefs []struct{ Name, Namespace, SectionName string }
	Hostnames  []string
	Rules      []struct {
		Matches []struct {
			Path struct{ Type, Value string }
		}
		BackendRefs []struct {
			Name string
			Port int
		}
	}
}

func (*httpRouteSpec) apiVersion() string { return "gateway.networking.k8s.io/v1" }

func (r *httpRouteSpec) problems() string {
	if len(r.ParentRefs) != 1 || r.ParentRefs[0].Name != "public" || len(r.Rules) == 0 || len(r.Rules) > 16 {
		return fmt.Sprintf("it has %d parents and %d rules", len(r.ParentRefs), len(r.Rules))
	}
	for _, rule := range r.Rules {
		if len(rule.Matches) == 0 || len(rule.Matches) > 8 || len(rule.BackendRefs) != 1 ||
			rule.BackendRefs[0].Name != "keyturn-webhook" || rule.BackendRefs[0].Port == 0 {
			return fmt.Sprintf("a rule is incomplete or too long: %+v", rule)
		}
		for _, match := range rule.Matches {
			path := match.Path
			if path.Type != "PathPrefix" || !strings.HasPrefix(path.Value, "/") || strings.HasSuffix(path.Value, "/") {
				return fmt.Sprintf("it matches %+v", path)
			}
		}
	}
	return ""
}

type backendTLSPolicySpec struct {
	TargetRefs []struct{ Group, Kind, Name string }
	Validation struct {
		Hostname                string
		WellKnownCACertificates string
		CACertificateRefs       []struct{ Group, Kind, Name string }
	}
}

func (*backendTLSPolicySpec) apiVersion() string { return "gateway.networking.k8s.io/v1" }

func (p *backendTLSPolicySpec) problems() string {
	validation := p.Validation
	switch {
	case len(p.TargetRefs) != 1 || p.TargetRefs[0].Kind != "Service" || p.TargetRefs[0].Name != "keyturn-webhook":
		return fmt.Sprintf("it is for %+v, want the Service", p.TargetRefs)
	case validation.Hostname != "keyturn-webhook.keyturn-system.svc":
		return fmt.Sprintf("it expects a certificate for %q", validation.Hostname)
	case (len(validation.CACertificateRefs) > 0) == (validation.WellKnownCACertificates != ""):
		return fmt.Sprintf("exactly one of the authorities must be given: %+v", validation)
	}
	return ""
}

type serviceMonitorSpec struct {
	Selector  struct{ MatchLabels map[string]string }
	Endpoints []struct{ Port, Path, Interval, ScrapeTimeout string }
}

func (*serviceMonitorSpec) apiVersion() string { return "monitoring.coreos.com/v1" }

func (m *serviceMonitorSpec) problems() string {
	if len(m.Endpoints) != 1 || m.Endpoints[0].Port != "metrics" || m.Endpoints[0].Path != "/metrics" ||
		m.Selector.MatchLabels["app.kubernetes.io/component"] != "metrics" {
		return fmt.Sprintf("it scrapes %+v", m)
	}
	return ""
}

type prometheusRuleSpec struct{ Groups []alertGroup }

type alertGroup struct {
	Name  string
	Rules []alert
}

type alert struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func (*prometheusRuleSpec) apiVersion() string { return "monitoring.coreos.com/v1" }

func (r *prometheusRuleSpec) problems() string {
	if len(r.Groups) != 1 || len(r.Groups[0].Rules) < 5 {
		return fmt.Sprintf("it has %d groups", len(r.Groups))
	}
	return ""
}
