package main

import (
	"fmt"

	"github.com/go-logr/logr"
	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// logger writes to stderr, in UTC.
func logger(o *options) (logr.Logger, error) {
	var level zapcore.Level
	switch o.logLevel {
	case "debug", "info", "error":
		if err := level.Set(o.logLevel); err != nil {
			return logr.Logger{}, fmt.Errorf("--log-level: %w", err)
		}
	default:
		return logr.Logger{}, fmt.Errorf("--log-level: %q is not one of debug, info and error", o.logLevel)
	}
	encoder := zap.JSONEncoder(utc)
	switch o.logFormat {
	case "json":
	case "console":
		encoder = zap.ConsoleEncoder(utc)
	default:
		return logr.Logger{}, fmt.Errorf("--log-format: %q is neither json nor console", o.logFormat)
	}
	return zap.New(zap.Level(level), encoder, zap.StacktraceLevel(zapcore.PanicLevel)), nil
}

func utc(config *zapcore.EncoderConfig) {
	config.EncodeTime = zapcore.RFC3339NanoTimeEncoder
}
