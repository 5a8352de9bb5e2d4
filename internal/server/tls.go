package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
)

// TLSOptions say where the server's certificate comes from: from a source, from files, or self-signed when there is
// neither.
type TLSOptions struct {
	// Source hands out the certificate. It excludes CertFile and KeyFile.
	Source CertificateSource
	// CertFile and KeyFile hold the certificate chain and the private key in PEM. They are read again when they change.
	// Set both or neither.
	CertFile, KeyFile string
	// Hosts are the DNS names and IP addresses of a self-signed certificate. Default: localhost.
	Hosts []string
	// CertOut is the file to which a self-signed certificate is written in PEM, so that clients can trust it.
	// Default: it is not written.
	CertOut string
}

// CertificateSource keeps a certificate that is made or read elsewhere.
type CertificateSource interface {
	// Run keeps the certificate current until ctx ends. It tells expires when the certificate expires, at every change.
	Run(ctx context.Context, expires func(time.Time)) error
	// GetCertificate returns the current certificate whoever asks, also for a nil hello. As long as there is none it
	// returns an error that says why: the server is not ready then, and every handshake fails.
	GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error)
}

// certificates hand the current certificate to TLS handshakes.
type certificates struct {
	get func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// watch keeps the certificate current until its context ends. Nil where it never changes.
	watch func(context.Context) error
}

// loadCertificates reads or makes the certificate. expires is told when the current one expires, at every change.
func loadCertificates(options TLSOptions, now clock.PassiveClock, expires func(time.Time)) (certificates, error) {
	switch {
	case options.Source != nil && (options.CertFile != "" || options.KeyFile != ""):
		return certificates{}, errors.New("reading the TLS certificate: both a Secret and files are set; set only one")
	case options.Source != nil:
		watch := func(ctx context.Context) error { return options.Source.Run(ctx, expires) }
		return certificates{get: options.Source.GetCertificate, watch: watch}, nil
	case options.CertFile == "" && options.KeyFile == "":
		return selfSigned(options, now.Now(), expires)
	case options.CertFile == "" || options.KeyFile == "":
		return certificates{}, errors.New("reading the TLS certificate: only one of its certificate file and its key " +
			"file is set; set both, or neither for a self-signed certificate")
	}
	watcher, err := certwatcher.New(options.CertFile, options.KeyFile)
	if err != nil {
		return certificates{}, fmt.Errorf("reading the TLS certificate %s and its key %s: %w; mount a Secret of type "+
			"kubernetes.io/tls there, or set neither file for a self-signed certificate",
			options.CertFile, options.KeyFile, err)
	}
	watcher.RegisterCallback(func(certificate tls.Certificate) {
		if certificate.Leaf != nil {
			expires(certificate.Leaf.NotAfter)
		}
	})
	watch := func(ctx context.Context) error {
		if err := watcher.Start(ctx); err != nil {
			return fmt.Errorf("watching the TLS certificate %s: %w; check that the file can be read, and the node's "+
				"limit of inotify watches", options.CertFile, err)
		}
		return nil
	}
	return certificates{get: watcher.GetCertificate, watch: watch}, nil
}

// config is the TLS side of the server: TLS 1.2 or later, HTTP/2 preferred.
func (c certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: c.get,
	}
}
