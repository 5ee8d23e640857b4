"""The compiled row encoder, left out where it can't be built: its pure-Python twin serves then."""

from setuptools import Extension, setup

setup(ext_modules=[Extension("proxy.encoders._rows", ["proxy/encoders/_rows.pyx"], optional=True)])
