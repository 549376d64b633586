"""The words that people make passwords of. A password that consists of them and of digits and special characters is refused.

They are what every list of leaked passwords begins with: common choices, keyboard walks, names of people, pets, teams, months and days, and the
words that operators of servers use.
"""

from __future__ import annotations

__all__ = ["WORDS"]

_TEXT = """
abc abcd abcde access account action active admin administrator adminadmin adobe airport alaska alert alex alexander alexandra alexis
alice alpha always amanda amber america american amsterdam andrea andrew android angel angela angels animal anthony apache apple april
arsenal arthur ashley august austin autumn awesome azerty baby babygirl backup ballet banana bandit barcelona barney baseball basic
basketball batman battery bear beatles beautiful beauty bella berlin best beta bigdaddy bigdog billy bird black blahblah blessed blink
blue bond bonnie boomer boston brandon brandy braves brian bronco broncos brother brown bubba bubbles buddy bullet bulldog burger
business buster butter butterfly buttercup calvin camaro cameron camera canada captain carlos carolina carter casper catch change
changeit changeme changethis charles charlie charlotte cheese chelsea cherry chester chevy chicago chicken chocolate chris christ
christian christmas christopher cisco claire classic cloud club cluster cocacola coffee college compaq company computer config connect
control cookie cool cooper corvette cowboy cowboys cream crystal cuddles customer dakota dallas dance daniel danielle dark database dave
david debian debug december deepak default demo dennis denver deploy desktop destiny devel develop developer devops dexter diamond
digital docker doctor dog dolphin dolphins domain donald dragon dragonball dream dreams drive drowssap dublin eagle eagles easy edward
edge einstein elizabeth email eminem emma empire enable england enter enterprise eric everton example extreme facebook faith falcon
family fantasy father february ferrari fire fireball firebird firefox firewall fish fishing flash florida flower flowers fluffy football
forest forever formula france frank frankie freddy freedom friday friend friends frog fuck fuckoff fuckyou galaxy gandalf garden
garfield gateway gator gemini general genesis george germany ghost giants ginger girl gizmo god godzilla gold golden golf golfer good
google gordon grace grafana granite great green group guest guinness guitar gunner hacker hahaha hammer hannah happy harley harry harvey
hawaii heart heather heaven hello hellohello help helpme henry hermione hiphop hockey holiday home honey hope horse horses host hottie
house houston hunter iceman ilove iloveyou iloveu infinity inside install internet iphone ireland iron island jack jackie jackson jaguar
jake james january jasmine jason jasper jeffrey jennifer jenkins jeremy jesse jessica jester jesus john johnny johnson jordan joseph
joshua josh juice julia july june junior justice justin karen katie kevin keyboard killer king kitten kitty knight kubernetes lakers
laptop larry laura lauren legend leo leon letmein letmeinnow liberty life linda linux little liverpool lizard loadbalancer local
localhost login loginlogin logitech london looking lord loser louise love loveme lovely lover loveyou lucky lucy machine madison madrid
maggie magic manager manchester march maria marina marine mark marlboro martin marvin master matrix matt matthew maverick max maxwell
may melissa member mercedes mercury merlin metallica mexico michael michelle mickey microsoft midnight miguel mike miller mine minecraft
mobile monday money monika monitor monkey monster morgan mother mountain mouse muffin murphy music mustang myname mypass mypassword
mysecret nascar nathan naruto nature network newpass newpassword newyork nginx nicholas nick nicole nikita ninja nintendo nirvana nissan
none nopass nothing november number oblivion october office oliver online open operator oracle orange orlando packers pakistan panther
paradise paris parker pass passme passpass passphrase passw passwd password passwort patricia patrick peace peaches peanut pearl pencil
penguin pepper person peter phantom phoenix phone photo pickle picture pirate player please plumber pokemon polaris police popcorn
porsche portal postgres power precious prince princess private prod production prometheus public pumpkin puppy purple qazwsx qazwsxedc
qwe qweasd qweasdzxc qwer qwert qwerty qwertyu qwertyui qwertyuiop qwertz rabbit rachel racing raiders rainbow random ranger rangers
raven realmadrid rebecca red reddog redhat redis redsox remote reset richard robert robin rocket rocky roger root rootroot rose router
rush russia sabrina sailor salt samantha sample samsung samuel sandra santa sarah saturday scooby scooter scorpion scott secret secrets
secure security september server service session sesame setup sexy shadow shannon sharon sheena shit shop sierra silver simon simple
simpsons single sister skippy skyline slipknot smart smile smokey snoopy snow soccer software solution sophie spain sparky special
spider spiderman spring staging star stars startrek starwars steelers stella stephen steve steven sticky student sublime success summer
sun sunday sunflower sunny sunshine super superadmin superman superstar superuser support surfer suzuki sweet swimming switch sydney
sysadmin sysop system teacher team tech telephone temp temporary temppass tennis terraster teresa test tester testing testtest texas
theman thomas thunder thursday tiger tigers tigger time tinkerbell today tomcat topgun toor toto toyota travel travis trinity trustme
trustno trustnoone tucker tuesday turtle tweety twitter ubuntu unicorn united unix unknown update user username vagrant valentina
vampire vanessa venom victor victoria victory video viking vincent violet virgin virtual visitor volcano walter warrior water web
webadmin webmaster wednesday weekend welcome welcomeback whatever white wildcats wilson windows winner winston winter wizard wolf wolves
wonder word work world xavier xbox xxxx yahoo yamaha yankees yellow yoda yourpassword youtube zaq zaqwsx zaqxsw zeppelin zxcv zxcvb
zxcvbn zxcvbnm asdf asdfg asdfgh asdfghjkl asdasd qwaszx wasd lkjhg poiuy mnbvcxz sommer winterzeit herbst fruehling januar februar
maerz mai juni juli oktober dezember montag dienstag mittwoch donnerstag freitag samstag sonntag hallo geheim passwortgeheim schatz
motdepasse bonjour soleil azertyuiop contrasena hola senha amor parola
"""

WORDS = frozenset(_TEXT.split())
