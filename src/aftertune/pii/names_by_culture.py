"""Common names by culture, for stand-ins only: (women's first names, men's first names, last names).

Picked by hand from names common in each culture. Recognising names uses other, longer lists (`pii/data`).
"""

from __future__ import annotations

NAMES: dict[str, tuple[str, str, str]] = {
    "english": (
        "Abigail Alison Amy Beatrice Bridget Caroline Charlotte Claire Eleanor Emily Erin Felicity Gemma "
        "Georgia Hannah Heather Isobel Jessica Joanna Kathryn Laura Lucy Megan Molly Natalie Nicole Phoebe "
        "Rachel Rebecca Sophie Susan Tamsin Victoria Zoe",
        "Adam Aidan Alan Andrew Benjamin Callum Charles Colin Daniel Dominic Duncan Edward Ethan Gavin George "
        "Graham Harry Howard Jacob Jeremy Joseph Kenneth Leonard Lewis Malcolm Matthew Nathan Oliver Patrick "
        "Philip Rupert Samuel Stuart Timothy",
        "Abbott Aldridge Barlow Bramley Chadwick Coleman Dawson Denham Ellison Fairfax Finch Gibbs Goddard "
        "Hargreaves Holloway Hutchins Kendrick Langley Lockwood Mayfield Merritt Newell Pemberton Prescott "
        "Ramsey Redfern Sheldon Sinclair Thornton Underhill Wakefield Whitmore Winslow Wyatt",
    ),
    "spanish": (
        "Adriana Alejandra Andrea Beatriz Camila Carolina Catalina Claudia Daniela Esperanza Eva Gabriela "
        "Isabel Jimena Julia Lorena Mariana Marisol Mercedes Paloma Patricia Pilar Rocio Silvia Sofia Valeria "
        "Veronica Ximena",
        "Agustin Alejandro Alfonso Andres Antonio Carlos Cesar Cristobal Eduardo Emilio Enrique Esteban "
        "Fernando Francisco Gonzalo Guillermo Ignacio Jaime Joaquin Lorenzo Luis Marcos Mateo Miguel Rafael "
        "Ramon Ricardo Tomas",
        "Acosta Alarcon Arroyo Benitez Bermudez Cabrera Calderon Cardenas Carrasco Contreras Cordero "
        "Dominguez Escobar Figueroa Galvez Guerrero Ibarra Leiva Maldonado Medina Montero Ojeda Olivares "
        "Pacheco Peralta Rivas Santana Sepulveda Solano Valdez Villalobos Zamora",
    ),
    "french": (
        "Adele Amelie Anais Aurelie Camille Cecile Chloe Claudine Delphine Elise Elodie Estelle Fabienne "
        "Florence Helene Josephine Juliette Lea Lucie Manon Margaux Mathilde Nathalie Noemie Oceane Solene "
        "Sylvie Virginie",
        "Adrien Alain Antoine Arnaud Aurelien Bastien Baptiste Clement Cyril Damien Didier Etienne Fabien "
        "Florian Gaspard Gilles Guillaume Hugo Julien Laurent Luc Mathieu Maxime Olivier Pascal Quentin Remi "
        "Thierry",
        "Arnault Barbier Beaumont Besson Blanchard Bouchard Carpentier Chevalier Delacroix Deschamps Dubois "
        "Dumont Fabre Fontaine Fournier Gauthier Girard Lacroix Lambert Lefebvre Leroux Marchand Mercier "
        "Moreau Noel Perrin Renaud Rousseau Roussel Thibault Vasseur Vidal",
    ),
    "german": (
        "Annika Astrid Birgit Britta Carola Claudia Cornelia Dagmar Edith Elfriede Franziska Gabriele Gerda "
        "Hannelore Ilse Ingrid Katrin Kerstin Lena Marlene Martina Nadine Renate Sigrid Silke Simone Stefanie "
        "Svenja Ulrike Ute",
        "Alexander Andreas Axel Benedikt Carsten Christoph Detlef Dirk Eberhard Fabian Florian Frank Georg "
        "Gerhard Hannes Holger Jens Joachim Jonas Kai Lars Manfred Markus Matthias Niklas Ralf Reinhard "
        "Sebastian Stefan Uwe",
        "Ackermann Arnold Bachmann Beck Bergmann Brandt Busch Ernst Franke Friedrich Frank Graf Haas Hartmann "
        "Heinrich Herrmann Hofmann Jansen Kaiser Kuhn Lorenz Ludwig Maier Pfeiffer Pohl Reinhardt Sander "
        "Schreiber Seidel Sommer Steiner Voigt Wagner Winkler",
    ),
    "italian": (
        "Alessandra Antonella Arianna Aurora Benedetta Bianca Chiara Cristina Donatella Elisa Federica "
        "Francesca Giada Giorgia Giulia Ilaria Lucrezia Martina Michela Ottavia Paola Rosa Serena Silvana "
        "Sofia Stefania Valentina",
        "Alberto Alessio Andrea Angelo Claudio Cristiano Dario Davide Domenico Edoardo Enzo Fabio Federico "
        "Filippo Gabriele Giacomo Giorgio Leonardo Luca Marcello Massimo Mattia Nicola Paolo Pietro Riccardo "
        "Salvatore Stefano",
        "Amato Barbieri Basile Bellini Benedetti Bianchi Caruso Colombo Conti Costa DeLuca Fabbri Farina "
        "Ferrara Ferretti Fontana Galli Gentile Grassi Guerra Leone Lombardi Longo Marchetti Mariani "
        "Martinelli Moretti Parisi Pellegrini Rinaldi Rizzo Santoro Serra Silvestri Testa Vitale",
    ),
    "portuguese": (
        "Aline Amanda Beatriz Bruna Carla Cristiane Debora Fernanda Flavia Helena Ines Joana Juliana Leonor "
        "Leticia Luciana Madalena Mariana Marta Matilde Renata Rita Sonia Tatiana Teresa Vanessa",
        "Afonso Alvaro Andre Bernardo Bruno Caio Diogo Duarte Fabio Filipe Gustavo Henrique Hugo Joao Jorge "
        "Leandro Luis Marcelo Nuno Paulo Pedro Rafael Rodrigo Rui Thiago Tiago Vasco",
        "Almeida Amaral Andrade Antunes Araujo Azevedo Barbosa Barros Batista Cardoso Carvalho Coelho Correia "
        "Duarte Fonseca Freitas Lopes Machado Magalhaes Marques Matos Mendes Moreira Nogueira Pinheiro "
        "Queiroz Rocha Sampaio Tavares Teixeira",
    ),
    "nordic": (
        "Agnes Anneli Astrid Ebba Elin Elsa Freja Frida Greta Hedda Ida Ingeborg Johanna Kaisa Karin Kirsten "
        "Linnea Maja Maren Merete Oda Sanna Signe Sigrid Silje Siri Solveig Tuva",
        "Anders Arvid Bjorn Einar Emil Erik Espen Fredrik Gunnar Hakon Henrik Ivar Jesper Johan Jonas Knut "
        "Lars Leif Magnus Mikael Mikkel Nils Olav Oskar Rasmus Soren Sven Torsten",
        "Aalto Andersen Berg Bergstrom Dahl Eklund Ekstrom Engstrom Forsberg Gustafsson Hagen Haugen Hedlund "
        "Holm Isaksson Jensen Johansen Karlsson Kristensen Lindberg Lindgren Lund Lundqvist Mikkelsen Nyberg "
        "Olsen Pedersen Rasmussen Sandberg Solberg Strand Virtanen",
    ),
    "slavic": (
        "Agnieszka Alena Aleksandra Anastasia Barbora Danuta Darya Dominika Ekaterina Elzbieta Galina Ilona "
        "Iwona Jana Jolanta Katarzyna Kristina Ludmila Malgorzata Marina Milena Natalia Oksana Petra Svetlana "
        "Tereza Wanda Zuzana",
        "Aleksander Andrzej Anton Artur Bartosz Boris Damian Dariusz Dmitri Grzegorz Igor Ivan Jakub Jan "
        "Jaroslav Karel Krzysztof Lukas Maksim Marek Mateusz Michal Milan Ondrej Pavel Radek Stanislav Tomasz "
        "Viktor Wojciech",
        "Banas Bielak Cerny Dvorak Gajda Horak Horvat Hruska Jelinek Jurek Kaminski Kolar Kovac Kozak "
        "Krawczyk Kubat Kucera Lisowski Malinowski Marek Novotny Orlov Petrov Pospisil Prochazka Rybak Sedlak "
        "Sobczak Sokolov Stepanek Stolarz Urbanek Vesely Volkov Walczak Witek Zelenka",
    ),
    "turkish": (
        "Asli Aysegul Bahar Beren Burcu Defne Dilek Ebru Ece Elif Esra Filiz Gizem Hande Irem Meltem Merve "
        "Nermin Nihan Ozlem Pelin Seda Selin Sibel Sule Tugba Yasemin Zehra",
        "Ahmet Alper Arda Berk Burak Can Cenk Deniz Emrah Enes Erkan Fatih Ferhat Gokhan Halil Ilker Kaan "
        "Levent Murat Mustafa Onur Ozan Serkan Sinan Tolga Ugur Volkan Yigit",
        "Acar Akin Altun Atalay Ates Avci Bayram Bozkurt Cakir Cinar Coskun Dincer Duman Ekinci Eren Gokce "
        "Guler Gundogdu Isik Kaplan Karaca Keskin Kilic Kose Ozdemir Ozkan Sari Simsek Toprak Turan Tuncer "
        "Unal Yavuz Yildirim",
    ),
    "arabic": (
        "Abeer Aisha Asma Basma Dina Eman Farah Hala Hanan Huda Iman Khadija Lamia Lina Maha Mariam Mona "
        "Nadine Noor Nour Rasha Reem Salma Samira Sana Yasmin Zahra Zeina",
        "Abdullah Adel Ahmad Amir Anas Ayman Bashar Fadi Faisal Hamza Hani Hisham Ibrahim Imad Jamal Khaled "
        "Majid Marwan Nabil Nasser Rami Rashid Salim Sami Tamer Wael Walid Ziad",
        "Abbas Alami Amari Ayoub Aziz Barakat Bitar Chahine Daher Farouk Fares Habib Hamdan Hariri Hijazi "
        "Ismail Issa Jaber Kassem Khalil Maalouf Malouf Masri Murad Nassar Qabbani Rahman Sabbagh Salameh "
        "Sayegh Shaheen Suleiman Tawfiq Younes Zaki",
    ),
    "indian": (
        "Aditi Ananya Anjali Archana Bhavana Divya Geeta Indira Isha Kiran Lakshmi Madhuri Manisha Neha Nisha "
        "Pallavi Preeti Priya Radhika Rekha Ritu Shalini Shreya Sneha Swati Tanvi Vidya",
        "Abhishek Aditya Ajay Akash Amit Anand Arjun Ashok Deepak Dinesh Gaurav Harish Karthik Kunal Manish "
        "Mohan Naveen Prakash Pranav Rahul Ramesh Rohan Sandeep Sanjay Siddharth Sunil Suresh Vijay Vivek",
        "Acharya Ahuja Arora Bajaj Bhatia Bhatt Bose Chandra Chatterjee Choudhary Das Dixit Dutta Ghosh Goel "
        "Jain Khanna Kulkarni Kumar Malhotra Menon Mishra Mukherjee Naidu Pandey Pillai Rao Sethi Shah Sinha "
        "Srinivasan Tiwari Trivedi Verma",
    ),
    "chinese": (
        "Ailing Chunhua Fei Hong Hua Huiling Jia Jiayi Juan Lan Lei Li Lili Lin Mengyao Na Qing Shu Xia "
        "Xiaoli Xin Xue Yan Yifei Ying Yuting Yun Zhen",
        "Bin Bo Chao Cheng Feng Guowei Hao Haoran Jian Jianguo Jie Jun Junjie Kai Lei Long Ming Peng Qi Shuai "
        "Tao Wen Xiang Yi Yong Yuchen Zhiqiang Zihan",
        "Cai Chang Cheng Cui Dai Ding Dong Du Fan Fang Gao Gong Gu Han Hou Hu Jia Jin Lei Li Lu Luo Meng Pan "
        "Qiu Shen Shi Song Tan Tao Tian Wu Xiao Xu Yan Yao Ye Yuan Zeng Zhang Zhao Zheng Zhu Zou",
    ),
    "japanese": (
        "Aiko Asuka Ayumi Chihiro Eri Hana Hikari Hitomi Kaori Keiko Kumiko Mai Mana Mika Misaki Miyuki "
        "Nanami Naomi Reiko Rina Saki Satomi Shiori Tomoko Yui Yumi Yuko",
        "Akira Daisuke Eiji Haruto Hideo Hiroshi Ichiro Jun Kaito Kazuo Keita Ken Koji Makoto Masato Minoru "
        "Noboru Ren Satoshi Shin Shota Sota Tatsuya Tetsuya Tomohiro Yosuke Yuto",
        "Abe Arai Asano Baba Fujii Fukuda Hara Hashimoto Hirano Honda Iida Ikeda Ishii Ito Iwasaki Kaneko "
        "Kobayashi Kojima Maeda Maruyama Masuda Miura Miyamoto Morita Murakami Nagai Nishimura Noguchi Ono "
        "Sakai Shimizu Sugiyama Suzuki Takagi Takeda Tamura Uchida Watanabe Yamaguchi Yokoyama",
    ),
    "korean": (
        "Areum Bora Chaewon Eunji Eunkyung Haeun Hyejin Jihye Jimin Jisoo Jiwon Minji Minseo Nari Seoyeon "
        "Sohee Soojin Sujin Yejin Yuna",
        "Byungho Changmin Donghyun Donghae Hyunwoo Jaehyun Jihoon Jinwoo Joonho Junseo Kangmin Kwang Minho "
        "Minjae Sangwoo Seojun Seungmin Sungho Taeyang Woojin",
        "Ahn Bae Baek Bang Cha Cho Choi Chung Gil Han Heo Hong Hwang Hyun Jang Jeon Jeong Ji Joo Jung Kang Ko "
        "Kwak Kwon Lim Min Moon Nam Noh Oh Pyo Ryu Seo Shin Son Sung Um Woo Yang Yoo Yoon",
    ),
    "african": (
        "Abena Adaeze Adjoa Aminata Amara Ayodele Chiamaka Chioma Efua Esi Fatoumata Funmi Ifeoma Kemi Makena "
        "Mariama Naledi Nia Nneka Nomvula Olamide Thandiwe Wanjiru Yaa Zanele Zuri",
        "Abayomi Adewale Ayo Babajide Chinedu Ebuka Femi Ikenna Jabari Kofi Kwabena Kwame Kwesi Mandla "
        "Mamadou Nnamdi Oluwaseun Ousmane Segun Sipho Tendai Thabo Themba Uchenna Wangari Yaw",
        "Achebe Adebayo Adeleke Afolabi Agyeman Amadi Asante Bello Boateng Chukwuma Danso Dlamini Diallo "
        "Ezekiel Gathoni Igwe Kamau Keita Khumalo Kimani Mensah Mokoena Mutua Ndlovu Ngugi Njoroge Nkosi "
        "Ofori Ogunleye Okeke Okonkwo Onyango Osei Owusu Sesay Traore Zulu",
    ),
    "cyrillic": (
        "Алина Вера Дарья Ирина Лариса Марина Нина Ольга",
        "Антон Борис Глеб Иван Максим Олег Павел Роман",
        "Антоненко Бондаренко Дорошенко Кравчук Лысенко Мельник Ткачук Шевчук",
    ),
    "han": (
        "佳怡 雪棅 淑芬 晓燕 思琪 丽华",
        "建国 志强 浩然 俊杰 文博 一鸣",
        "林 赵 陈 黄 吴 徐 何 谢 张 梅",
    ),
}
HINTS: tuple[tuple[str, str], ...] = (
    (r"[\u0400-\u04ff]", "cyrillic"),
    (r"[\u3400-\u9fff]", "han"),
    (r"[ğış]|oglu\b|[yc]ilmaz", "turkish"),
    (r"[łżźćęą]|ski\b|ska\b|wicz\b|czyk\b|[oe]va?\b|enko\b|[čřšžě]", "slavic"),
    (r"[åøæ]|s+on\b.*(?:[åäö])|sen\b|qvist\b|strom\b|gaard\b", "nordic"),
    (r"[äöüß]|mann\b|stein\b|berger\b", "german"),
    (r"[ãõ]|\bdos?\b|eira\b|inho\b", "portuguese"),
    (r"ñ|ez\b|\bdel?\b|illo\b|illa\b", "spanish"),
    (r"[èçœ]|eau\b|ault\b|\ble?\b|oux\b|elle\b", "french"),
    (r"ini\b|elli\b|etti\b|ucci\b|one\b.*[aio]\b", "italian"),
    (r"\bal-|\bel-|\babdul|\bibn\b|\bbin\b|ullah\b", "arabic"),
    (r"\bo'|\bmc|\bmac", "english"),
)
"""(Pattern on the name in lower case, culture), tried in order for names on no list."""
