"""What the type checker says of flags: ``make lint`` fails if a line with an ignored error has none, or another line has one."""

from scrapy_capsolver import captcha

captcha.turnstile(website_key="0x4", when="before", inject={"header": "X"})
captcha.turnstile(sitekey="0x4")  # type: ignore[call-arg]
captcha.turnstile(when="soon")  # type: ignore[arg-type]
captcha.datadome(inject={"form": "a"})  # type: ignore[call-arg]
captcha.aws_waf()  # type: ignore[call-arg]
captcha.turnstile(inject={"forms": "a"})  # type: ignore[typeddict-unknown-key]
captcha.recaptcha_v2(website_key=5)  # type: ignore[arg-type]
